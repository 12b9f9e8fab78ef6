"""Cut a trained model into units, export each to ONNX, and hold it against PyTorch."""
