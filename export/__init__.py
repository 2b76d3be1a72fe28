"""Model to recurrent-step graph (ONNX), and the int8 step graph to a bare-metal bundle (TVM)."""
