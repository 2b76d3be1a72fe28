"""Every way to bring a movement out of an implant, priced alike, and which of them needs least (docs/verdict.md)."""
