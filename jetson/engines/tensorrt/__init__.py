"""TensorRT: build an engine of every unit, keep them in a cache, run them."""
