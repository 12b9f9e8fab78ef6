"""Lines that tegrastats printed, each with the board and the release it is from and where it was published.

What a source does not say is not guessed: then it says unknown. The comment after a name is what was found out.
"""

from __future__ import annotations

from typing import NamedTuple


class Line(NamedTuple):
    """A line, and what it tells."""

    board: str
    release: str
    source: str
    text: str
    rails_w: dict[str, float]
    whole_w: float | None
    """What the board draws."""
    hottest_c: float | None
    cpu_mhz: tuple[float, ...]
    gpu_mhz: float | None


NANO_46 = (
    "RAM 1923/3964MB (lfb 2x2MB) SWAP 191/1982MB (cached 6MB) IRAM 0/252kB(lfb 252kB) CPU [5%@1224,4%@1224,3%@1224,"
    "6%@1224] EMC_FREQ 0%@1600 GR3D_FREQ 0%@76 APE 25 PLL@37C CPU@40C PMIC@50C GPU@40C AO@45C thermal@40C "
    "POM_5V_IN 1750/1628 POM_5V_GPU 0/0 POM_5V_CPU 366/406"
)
XAVIER_NX_35 = (
    "07-09-2024 13:31:31 RAM 3168/6851MB (lfb 2x4MB) SWAP 161/3426MB (cached 0MB) CPU [23%@1397,17%@1192,16%@1190,"
    "13%@1190,23%@1190,10%@1190] EMC_FREQ 2%@204 GR3D_FREQ 0%@[114] VIC_FREQ 115 APE 150 AUX@45C CPU@46.5C "
    "thermal@45.6C AO@45C GPU@45.5C PMIC@50C VDD_IN 2763mW/2846mW VDD_CPU_GPU_CV 650mW/670mW VDD_SOC 650mW/711mW"
)
THOR_38_4 = (
    "04-21-2026 15:50:52 RAM 105265/125772MB (lfb 34x4MB) CPU [0%@972,0%@972,0%@972,0%@972,0%@972,0%@972,1%@972,"
    "0%@972,0%@972,0%@972,0%@972,8%@972,0%@972,0%@972] EMC_FREQ 0%@2750 GR3D_FREQ @[314,314,314] NVENC0_FREQ @314 "
    "NVENC1_FREQ @314 NVDEC0_FREQ @314 NVDEC1_FREQ @314 NVJPG0_FREQ @314 VIC off OFA_FREQ @315 PVA0_FREQ off APE 300 "
    "cpu@37.343C tj@38.875C soc012@37.468C gpu@38.875C soc345@37.406C VDD_GPU 1962mW/1962mW "
    "VDD_CPU_SOC_MSS 5887mW/5887mW VIN_SYS_5V0 5635mW/5635mW VIN 19780mW/19780mW"
)
EXPORTER = "github.com/waggle-sensor/jetson-exporter, tegrastats_test.go"
DATADOG = "github.com/DataDog/datadog-agent, a test of its Jetson check"
LINES = (
    Line(
        board="Jetson Nano",
        release="JetPack 4.6.1 (L4T 32)",
        source=EXPORTER,
        text=NANO_46,
        rails_w={"POM_5V_IN": 1.75, "POM_5V_GPU": 0.0, "POM_5V_CPU": 0.366},
        whole_w=1.75,
        hottest_c=45.0,  # PMIC@50C is none that is measured
        cpu_mhz=(1224.0,) * 4,
        gpu_mhz=76.0,
    ),
    Line(
        board="Jetson Nano",
        release="unknown (no date, no clocks of the GPU)",
        source=DATADOG,
        text="RAM 613/3964MB (lfb 634x4MB) SWAP 0/1982MB (cached 0MB) CPU [2%@102,1%@102,0%@102,0%@102] EMC_FREQ 0% "
        "GR3D_FREQ 0% PLL@39C CPU@40.5C PMIC@100C GPU@41C AO@46C thermal@41C POM_5V_IN 900/943 POM_5V_GPU 0/0 "
        "POM_5V_CPU 123/123",
        rails_w={"POM_5V_IN": 0.9, "POM_5V_GPU": 0.0, "POM_5V_CPU": 0.123},
        whole_w=0.9,
        hottest_c=46.0,
        cpu_mhz=(102.0,) * 4,
        gpu_mhz=None,
    ),
    Line(
        board="Jetson TX1",
        release="unknown",
        source=DATADOG,
        text="RAM 1179/3983MB (lfb 120x4MB) IRAM 0/252kB(lfb 252kB) CPU [1%@102,4%@102,0%@102,0%@102] EMC_FREQ 7%@408 "
        "GR3D_FREQ 0%@76 APE 25 AO@42.5C CPU@37.5C GPU@39C PLL@37C Tdiode@42.75C PMIC@100C Tboard@42C thermal@38.5C "
        "VDD_IN 2532/2698 VDD_CPU 76/178 VDD_GPU 19/19",
        rails_w={"VDD_IN": 2.532, "VDD_CPU": 0.076, "VDD_GPU": 0.019},
        whole_w=2.532,
        hottest_c=42.75,
        cpu_mhz=(102.0,) * 4,
        gpu_mhz=76.0,
    ),
    Line(
        board="Jetson TX2",
        release="before JetPack 5, as the source says",
        source="github.com/henrygd/beszel/pull/1631 (board not named: it has a TX2's rails)",
        text="RAM 3276/7859MB (lfb 5x4MB) SWAP 1626/12122MB (cached 181MB) CPU [44%@1421,49%@2031,67%@2034,17%@1420,"
        "25%@1419,8%@1420] EMC_FREQ 1%@1866 GR3D_FREQ 0%@114 APE 150 MTS fg 1% bg 1% PLL@42.5C MCPU@42.5C PMIC@50C "
        "Tboard@38C GPU@39.5C BCPU@42.5C thermal@41.3C Tdiode@39.25C VDD_SYS_GPU 182/182 VDD_SYS_SOC 730/730 "
        "VDD_4V0_WIFI 0/0 VDD_IN 5297/5297 VDD_SYS_CPU 1917/1917 VDD_SYS_DDR 1241/1241",
        rails_w={
            "VDD_SYS_GPU": 0.182,
            "VDD_SYS_SOC": 0.73,
            "VDD_4V0_WIFI": 0.0,
            "VDD_IN": 5.297,
            "VDD_SYS_CPU": 1.917,
            "VDD_SYS_DDR": 1.241,
        },
        whole_w=5.297,
        hottest_c=42.5,
        cpu_mhz=(1421.0, 2031.0, 2034.0, 1420.0, 1419.0, 1420.0),
        gpu_mhz=114.0,
    ),
    Line(
        board="Jetson TX2, five cores off",
        release="unknown",
        source=DATADOG,
        text="RAM 1345/7829MB (lfb 1290x4MB) SWAP 0/512MB (cached 0MB) CPU [2%@345,off,off,off,off,off] EMC_FREQ 13%@40"
        " GR3D_FREQ 0%@114 APE 150 BCPU@35C MCPU@35C GPU@41C PLL@35C AO@35.5C Tboard@35C Tdiode@36C PMIC@100C "
        "thermal@35.5C VDD_IN 2003/2658 VDD_CPU 320/518 VDD_GPU 400/735 VDD_SOC 400/415 VDD_WIFI 0/0 VDD_DDR 240/348",
        rails_w={
            "VDD_IN": 2.003,
            "VDD_CPU": 0.32,
            "VDD_GPU": 0.4,
            "VDD_SOC": 0.4,
            "VDD_WIFI": 0.0,
            "VDD_DDR": 0.24,
        },
        whole_w=2.003,
        hottest_c=41.0,
        cpu_mhz=(345.0,),
        gpu_mhz=114.0,
    ),
    Line(
        board="Jetson AGX Xavier",
        release="JetPack 4, by its lines without a unit; a comment of June 2019, when JetPack 4.2 was out",
        source="github.com/martinkersner/gtop/pull/7",
        text="RAM 14700/15692MB (lfb 3x2MB) SWAP 898/8192MB (cached 23MB) CPU [0%@1190,0%@1190,0%@1190,0%@1190,0%@1190,"
        "0%@1190,0%@1190,0%@1190] EMC_FREQ 0% GR3D_FREQ 0% AO@30C GPU@30.5C Tboard@31C Tdiode@32C AUX@30.5C CPU@31.5C "
        "thermal@30.8C PMIC@100C GPU 463/463 CPU 618/618 SOC 2936/2936 CV 0/0 VDDRQ 309/309 SYS5V 3306/3306",
        rails_w={"GPU": 0.463, "CPU": 0.618, "SOC": 2.936, "CV": 0.0, "VDDRQ": 0.309, "SYS5V": 3.306},
        whole_w=7.632,
        hottest_c=32.0,
        cpu_mhz=(1190.0,) * 8,
        gpu_mhz=None,
    ),
    Line(
        board="Jetson Xavier NX",
        release="JetPack 4 (the source says 4.1.1, which did not know this board)",
        source=EXPORTER,
        text="RAM 5246/7771MB (lfb 7x4MB) SWAP 983/20269MB (cached 280MB) CPU [47%@1420,23%@1420,32%@1420,22%@1420,"
        "31%@1420,96%@1420] EMC_FREQ 2%@1600 GR3D_FREQ 0%@1109 APE 150 MTS fg 1% bg 9% AO@29C GPU@31.5C PMIC@100C "
        "AUX@30C CPU@33.5C thermal@31.35C VDD_IN 6140/5510 VDD_CPU_GPU_CV 2706/2119 VDD_SOC 1074/1051",
        rails_w={"VDD_IN": 6.14, "VDD_CPU_GPU_CV": 2.706, "VDD_SOC": 1.074},
        whole_w=6.14,
        hottest_c=33.5,
        cpu_mhz=(1420.0,) * 6,
        gpu_mhz=1109.0,
    ),
    Line(
        board="Jetson Xavier NX",
        release="JetPack 5.1.2 (L4T 35)",
        source=EXPORTER,
        text=XAVIER_NX_35,
        rails_w={"VDD_IN": 2.763, "VDD_CPU_GPU_CV": 0.65, "VDD_SOC": 0.65},
        whole_w=2.763,
        hottest_c=46.5,
        cpu_mhz=(1397.0, 1192.0, 1190.0, 1190.0, 1190.0, 1190.0),
        gpu_mhz=114.0,
    ),
    Line(
        board="Jetson AGX Orin, the GPU and its neighbours off",
        release="unknown; JetPack 5 by its upper-case zones",
        source="a parser's test with a line of April 2025, found by its text in public sources",
        text="04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) CPU [0%@729,0%@729,"
        "0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729] EMC_FREQ 0%@2133 GR3D_FREQ 0%@[0,0] "
        "VIC_FREQ 729 APE 174 CV0@-256C CPU@44.562C Tboard@32C SOC2@40.093C Tdiode@33C SOC0@41.093C CV1@-256C "
        "GPU@-256C tj@44.343C SOC1@41.25C CV2@-256C VDD_GPU_SOC 2340mW/2340mW VDD_CPU_CV 390mW/390mW "
        "VIN_SYS_5V0 4025mW/4025mW NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW",
        rails_w={"VDD_GPU_SOC": 2.34, "VDD_CPU_CV": 0.39, "VIN_SYS_5V0": 4.025, "VDDQ_VDD2_1V8AO": 0.301},
        whole_w=6.755,
        hottest_c=44.562,
        cpu_mhz=(729.0,) * 12,
        gpu_mhz=None,
    ),
    Line(
        board="Jetson AGX Orin 64 GB",
        release="JetPack 6.2.1 (L4T 36.4.7)",
        source="an audit of a board, found by its text in public sources",
        text="10-05-2026 21:03:35 RAM 5137/62841MB (lfb 2x4MB) SWAP 0/31420MB (cached 0MB) CPU [1%@729,25%@729,1%@729,"
        "1%@729,2%@729,1%@729,0%@729,0%@729,2%@729,14%@729,1%@729,0%@729] GR3D_FREQ 0% cpu@52.875C soc2@48.656C "
        "soc0@49.062C tj@52.875C soc1@49.031C VDD_GPU_SOC 3178mW/3178mW VDD_CPU_CV 794mW/794mW "
        "VIN_SYS_5V0 4543mW/4543mW",
        rails_w={"VDD_GPU_SOC": 3.178, "VDD_CPU_CV": 0.794, "VIN_SYS_5V0": 4.543},
        whole_w=8.515,
        hottest_c=52.875,
        cpu_mhz=(729.0,) * 12,
        gpu_mhz=None,
    ),
    Line(
        board="Jetson AGX Orin developer kit",
        release="JetPack 7.2 (L4T 39.2)",
        source="github.com/rbonghi/jetson_stats, a test of its parser, and pull request 894",
        text="07-25-2026 09:08:28 RAM 20642/62817MB (lfb 1x2MB) CPU [23%@2201,10%@2201,4%@2201,14%@2201,30%@2201,"
        "18%@2201,10%@2201,10%@2201,33%@2201,7%@2201,5%@2201,27%@2201] EMC_FREQ 3%@3199 GR3D_FREQ 12%@[1300,1300] "
        "NVENC0 off NVDEC0 off NVJPG0 off NVJPG1 off VIC off OFA off NVDLA0 off NVDLA1 off PVA0_FREQ off APE 174 "
        "cpu@52.968C/52.968C soc2@48.406C/48.406C soc0@49.531C/49.531C gpu@47.625C/47.625C "
        "VDD_GPU_SOC 5139mW/5139mW/5139mW VDD_CPU_CV 3268mW/3268mW/3268mW VIN_SYS_5V0 5500mW/5500mW/5500mW",
        rails_w={"VDD_GPU_SOC": 5.139, "VDD_CPU_CV": 3.268, "VIN_SYS_5V0": 5.5},
        whole_w=13.907,
        hottest_c=52.968,
        cpu_mhz=(2201.0,) * 12,
        gpu_mhz=1300.0,
    ),
    Line(
        board="Jetson Orin Nano",
        release="unknown; JetPack 7 by its three figures a rail",
        source="a test on lines of three Jetsons, found by its text in public sources",
        text="10-01-2026 20:36:32 RAM 974/7546MB (lfb 6x4MB) SWAP 0/5821MB (cached 0MB) CPU [0%@729,0%@729,0%@883,"
        "0%@883,0%@729,0%@729] GR3D_FREQ 12% cpu@49.843C/49.843C soc2@49.156C/49.156C soc0@50.187C/50.187C "
        "gpu@50.875C/50.875C tj@50.875C/50.875C soc1@50.218C/50.218C VDD_IN 4548mW/4548mW/4548mW "
        "VDD_CPU_GPU_CV 483mW/483mW/483mW VDD_SOC 1489mW/1489mW/1489mW",
        rails_w={"VDD_IN": 4.548, "VDD_CPU_GPU_CV": 0.483, "VDD_SOC": 1.489},
        whole_w=4.548,
        hottest_c=50.875,
        cpu_mhz=(729.0, 729.0, 883.0, 883.0, 729.0, 729.0),
        gpu_mhz=None,
    ),
    Line(
        board="unknown, with 8 GB; an Orin NX by its NVDLA0",
        release="unknown; May 2025, clocks that JetPack 6.2 brought",
        source="github.com/rbonghi/jetson_stats/issues/624",
        text="05-15-2025 18:30:28 RAM 6982/7620MB (lfb 5x1MB) SWAP 2640/16384MB (cached 202MB) CPU [97%@1984,95%@1984,"
        "95%@1984,91%@1984,88%@1984,93%@247] EMC_FREQ 18%@3199 GR3D_FREQ 84%@[713] NVENC 1%@115 NVDEC 40%@115 "
        "NVJPG off NVJPG1 off VIC 31%@115 OFA off NVDLA0 off PVA0_FREQ off APE 174 cv0@63.031C cpu@65.562C "
        "soc2@64.156C soc0@63.031C cv1@62.937C gpu@63.5C tj@65.562C soc1@64.718C cv2@60.875C VDD_IN 17946mW/15710mW "
        "VDD_CPU_GPU_CV 8896mW/7585mW VDD_SOC 3923mW/3515mW",
        rails_w={"VDD_IN": 17.946, "VDD_CPU_GPU_CV": 8.896, "VDD_SOC": 3.923},
        whole_w=17.946,
        hottest_c=65.562,
        cpu_mhz=(1984.0, 1984.0, 1984.0, 1984.0, 1984.0, 247.0),
        gpu_mhz=713.0,
    ),
    Line(
        board="Jetson Orin NX 16 GB, two cores off",
        release="unknown; JetPack 7 by its three figures a rail",
        source="a test on lines of three Jetsons, found by its text in public sources",
        text="10-01-2026 20:36:35 RAM 2432/15598MB (lfb 4x4MB) SWAP 0/6144MB (cached 0MB) CPU [55%@1036,9%@1036,"
        "24%@1036,64%@1036,off,off,0%@729,0%@729] GR3D_FREQ 0% cv0@56.281C/56.281C cpu@57.156C/57.156C "
        "soc2@56.593C/56.593C soc0@57.781C/57.781C cv1@56.125C/56.125C gpu@55.343C/55.343C "
        "tj@59.687C/59.687C soc1@59.687C/59.687C cv2@56.281C/56.281C VDD_IN 7280mW/7280mW/7280mW",
        rails_w={"VDD_IN": 7.28},
        whole_w=7.28,
        hottest_c=59.687,
        cpu_mhz=(1036.0, 1036.0, 1036.0, 1036.0, 729.0, 729.0),
        gpu_mhz=None,
    ),
    Line(
        board="Jetson AGX Thor developer kit",
        release="JetPack 7.1 (L4T 38.4)",
        source="a guide to tegrastats' output with its /etc/nv_tegra_release, found by its text in public sources",
        text=THOR_38_4,
        rails_w={"VDD_GPU": 1.962, "VDD_CPU_SOC_MSS": 5.887, "VIN_SYS_5V0": 5.635, "VIN": 19.78},
        whole_w=19.78,
        hottest_c=38.875,
        cpu_mhz=(972.0,) * 14,
        gpu_mhz=314.0,
    ),
    Line(
        board="Jetson AGX Thor",
        release="JetPack 7.2 (L4T 39.2)",
        source="github.com/wendylabsinc/WendyOS, pull request 1316 and its test",
        text="07-02-2026 13:45:44 RAM 36529/125749MB (lfb 12x4MB) SWAP 11/4096MB (cached 9MB) CPU [2%@972,1%@972,"
        "0%@972,0%@972,0%@972,0%@972,0%@972,0%@972,0%@972,0%@972,0%@972,0%@972,0%@972,2%@972] cpu@60.406C tj@63.281C "
        "soc012@58.468C gpu@62.906C soc345@63.281C VDD_GPU 37528mW/37528mW/37528mW "
        "VDD_CPU_SOC_MSS 18961mW/18961mW/18961mW VIN_SYS_5V0 18331mW/18331mW/18331mW VIN 87426mW/43713mW/87426mW",
        rails_w={"VDD_GPU": 37.528, "VDD_CPU_SOC_MSS": 18.961, "VIN_SYS_5V0": 18.331, "VIN": 87.426},
        whole_w=87.426,
        hottest_c=63.281,
        cpu_mhz=(972.0,) * 14,
        gpu_mhz=None,
    ),
)
