"""What files of real machines say, and what their libraries answer."""

from jetson.doctor.child import Tried

ABSENT = Tried(state="absent")
NO_CUDA = {"pycuda": ABSENT, "cuda.bindings": ABSENT}
NO_TENSORRT = {"tensorrt": ABSENT, "tensorrt_rtx": ABSENT}
RTX = Tried(state="ok", version="1.7.1.116", targets=(75, 80, 86, 89, 120, 121))
ONNXRUNTIME = Tried(state="ok", version="1.23.2")

# Where a line comes from is said beside it. Figures of memory and clocks are plausible rather than read off a board.
ORIN_NANO = {
    "proc/device-tree/model": b"NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    # From an Orin Nano of the OE4T project, less its own first entry.
    "proc/device-tree/compatible": b"nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0",
    # JetPack 6.2
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
    "DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n",
    # JetPack 6.2, from the tests of an inference server
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build  "
    "(buildbrain@mobile-u64-6336-d8000)  Tue Jan  7 17:35:12 PST 2025\n"
    "GCC version:  collect2: error: ld returned 1 exit status    \n",
    "etc/os-release": 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\nNAME="Ubuntu"\nVERSION_ID="22.04"\n',
    "proc/sys/kernel/osrelease": "5.15.148-tegra\n",
    "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 62.50\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n",
    "proc/meminfo": "MemTotal:        7802072 kB\nMemFree:         4402072 kB\nMemAvailable:    5402072 kB\n"
    "SwapTotal:       3901036 kB\nSwapFree:        3901036 kB\n",
    "usr/local/cuda/version.json": '{"cuda": {"name": "CUDA SDK", "version": "12.6.11"}}',
    "usr/local/cuda/bin/nvcc": "",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "115200\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "729600\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1728000\n",
    # The name, and 306 MHz when idle, as Orins of JetPack 6 have it.
    "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
    "sys/class/thermal/thermal_zone0/temp": "51250\n",
}
ORIN_CUDA = Tried(
    state="ok",
    version="2026.1",
    gpu="Orin",
    compute_capability=(8, 7),
    total_bytes=7_989_321_728,
    free_bytes=4_500_000_000,
    integrated=True,
    driver_version=12060,
)
THOR = {
    # From jetson_stats issue 711: AGX Thor, JetPack 7.0.
    "proc/device-tree/model": b"NVIDIA Jetson AGX Thor Developer Kit\0",
    "proc/device-tree/compatible": b"nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0",
    "etc/nv_tegra_release": "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64, "
    "DATE: Fri Aug 22 00:55:42 UTC 2025\n",
    "proc/sys/kernel/osrelease": "6.8.12-tegra\n",
    "etc/os-release": 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\n',
    # The name of the folder, and the clock jetson_clocks holds it at, as Thors have it.
    "sys/class/devfreq/gpu-gpc-0/min_freq": "1575000000\n",
    "sys/class/devfreq/gpu-gpc-0/cur_freq": "1575000000\n",
    "sys/class/devfreq/gpu-gpc-0/max_freq": "1575000000\n",
}
THOR_CUDA = Tried(
    # As deviceQuery has it on JetPack 7.0; what is free is invented.
    state="ok",
    version="13.5.0",
    gpu="NVIDIA Thor",
    compute_capability=(11, 0),
    total_bytes=131_881_680_896,
    free_bytes=120_000_000_000,
    integrated=True,
    driver_version=13000,
)
# A desktop, driver 590.48.01
RTX_3090 = """Model: \t\t NVIDIA GeForce RTX 3090
IRQ:   \t\t 77
GPU UUID: \t GPU-eaf23aa1-4d3d-596c-da66-b86b0e5db584
Video BIOS: \t 94.02.26.40.81
Bus Type: \t PCI
DMA Size: \t 47 bits
DMA Mask: \t 0x7fffffffffff
Bus Location: \t 0000:01:00.0
Device Minor: \t 0
GPU Firmware: \t 590.48.01
"""
DESKTOP = {
    "proc/driver/nvidia/gpus/0000:01:00.0/information": RTX_3090,
    # From nixGL issue 121: Arch Linux with nvidia-open-dkms.
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  525.60.11  Release Build  "
    "(archlinux-builder@localhost)  \nGCC version:  gcc version 12.2.0 (GCC) \n",
    "sys/class/dmi/id/sys_vendor": "Some Vendor\n",
    "sys/class/dmi/id/product_name": "Tower\n",
}
DESKTOP_CUDA = Tried(
    state="ok",
    version="13.5.0",
    gpu="NVIDIA GeForce RTX 3090",
    compute_capability=(8, 6),
    total_bytes=25_296_896_000,
    free_bytes=24_000_000_000,
    driver_version=12000,
)
