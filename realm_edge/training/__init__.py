"""The shared fit loop and the three phases: masked autoencoding, distillation, supervised fitting."""
