"""From an int8 step graph to a bundle: TVM kernels behind a plain C ABI, a C driver without arithmetic, const weights."""
