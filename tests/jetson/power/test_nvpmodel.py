"""nvpmodel: what it has printed on boards, and what is made of it; a stand-in on PATH changes modes."""

import pytest

from jetson.errors import BadInput, WorkFailed
from jetson.power import nvpmodel
from jetson.power.nvpmodel import NeedsReboot, NvpModel, PowerMode, listed_modes
from tests.board import MODES, Board

LISTS = [
    (  # Jetson Xavier NX, JetPack 5.0.2 (L4T 35.1): nvpmodel -p --verbose, from a public README
        "NVPM VERB: POWER_MODEL: ID=0 NAME=MODE_15W_2CORE\nNVPM VERB: POWER_MODEL: ID=1 NAME=MODE_15W_4CORE\n"
        "NVPM VERB: POWER_MODEL: ID=2 NAME=MODE_15W_6CORE\nNVPM VERB: POWER_MODEL: ID=3 NAME=MODE_10W_2CORE\n"
        "NVPM VERB: POWER_MODEL: ID=4 NAME=MODE_10W_4CORE\nNVPM VERB: POWER_MODEL: ID=5 NAME=MODE_10W_DESKTOP\n"
        "NVPM VERB: POWER_MODEL: ID=6 NAME=MODE_20W_2CORE\nNVPM VERB: POWER_MODEL: ID=7 NAME=MODE_20W_4CORE\n"
        "NVPM VERB: POWER_MODEL: ID=8 NAME=MODE_20W_6CORE\n",
        [
            *("MODE_15W_2CORE", "MODE_15W_4CORE", "MODE_15W_6CORE", "MODE_10W_2CORE", "MODE_10W_4CORE"),
            *("MODE_10W_DESKTOP", "MODE_20W_2CORE", "MODE_20W_4CORE", "MODE_20W_6CORE"),
        ],
    ),
    (  # Jetson TX2, JetPack 3 or 4 (unknown): from nvpmodel -q --verbose in a public note
        "NVPM VERB: parsing done for /etc/nvpmodel.conf\nNVPM VERB: Current mode: NV Power Mode: MAXN\n0\n"
        "NVPM VERB: PM_CONFIG: DEFAULT=MAXP_CORE_ARM(3)\nNVPM VERB: ACTIVE=MAXN(0)\n"
        "NVPM VERB: POWER_MODEL: ID=0 NAME=MAXN\nNVPM VERB: /sys/devices/system/cpu/cpu1/online 1\n",
        ["MAXN"],
    ),
    (  # Jetson Orin Nano, JetPack 6.2: parts of /etc/nvpmodel.conf, from public tests and notes
        "#\n# FORMAT:\n# < POWER_MODEL ID=id_num NAME=mode_name >\n"
        "< PARAM TYPE=CLOCK NAME=EMC >\nMAX_FREQ /sys/kernel/nvpmodel_emc_cap/emc_iso_cap\n\n"
        "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\nCPU_A78_0 MAX_FREQ 1497600\nGPU MAX_FREQ 612000000\n\n"
        "< POWER_MODEL ID=1 NAME=25W >\nCPU_ONLINE CORE_0 1\nGPU MAX_FREQ 918000000\n\n"
        "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\nGPU MAX_FREQ -1\n\n< POWER_MODEL ID=3 NAME=7W >\n\n"
        "< PM_CONFIG DEFAULT=1 >\n",
        ["15W", "25W", "MAXN_SUPER", "7W"],
    ),
    (  # Jetson Nano, JetPack 4: a block of its /etc/nvpmodel.conf
        "< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=1 NAME=5W >\nCPU_A57 MAX_FREQ 918000\n",
        ["MAXN", "5W"],
    ),
    ("    < POWER_MODEL NAME=MAXN ID=0 >\n", ["MAXN"]),  # the other way round: invented
    ("< POWER_MODEL ID=x NAME=Y >\n< POWER_MODEL ID=1 >\nPOWER_MODEL", []),  # invented
    ("", []),
]


@pytest.mark.parametrize(("text", "names"), LISTS)
def test_the_modes_of_a_board(text, names):
    assert listed_modes(text) == [PowerMode(i, name) for i, name in enumerate(names)]


@pytest.fixture
def board(tmp_path, monkeypatch):
    made = Board(tmp_path / "bin")
    monkeypatch.setenv("PATH", made.environment["PATH"])
    return made


def test_the_mode_changes_and_holds(board):
    tool = NvpModel()
    assert [m.name for m in tool.modes] == list(MODES) and tool.now() == PowerMode(1, "25W")
    tool.change(tool.modes[2])
    assert board.mode == "MAXN_SUPER" and tool.now().name == "MAXN_SUPER"
    tool.change(tool.modes[2])
    assert board.changes == ["MAXN_SUPER"]  # what holds already is not asked for
    assert tool.by_hand(tool.modes[0]) == "sudo nvpmodel -m 0"


def test_a_mode_that_wants_a_reboot_is_refused_and_nobody_is_rebooted(board):
    tool = NvpModel()
    with pytest.raises(NeedsReboot, match="power mode 7W needs a reboot"):
        tool.change(tool.modes[3])
    assert board.mode == "25W" and board.changes == ["7W"] and not (board.folder / "rebooted").exists()


def test_a_mode_that_does_not_hold_is_an_error_also_when_nvpmodel_says_nothing_of_it(board):
    """It ends with 0 all the same."""
    (board.folder / "broken").touch()
    tool = NvpModel()
    with pytest.raises(WorkFailed, match=r"15W was asked for and 25W holds; .*NVPM ERROR: failed to set power mode!"):
        tool.change(tool.modes[0])


def test_modes_are_chosen_by_name_in_the_order_of_the_board(board):
    tool = NvpModel()
    assert [m.name for m in tool.chosen(["MAXN_SUPER", "15W"])] == ["15W", "MAXN_SUPER"]
    assert tool.chosen(["all"]) == tool.modes
    with pytest.raises(BadInput, match=r"no power mode '30W'; it has 15W, 25W, MAXN_SUPER, 7W"):
        tool.chosen(["15W", "30W"])


def test_without_root_it_goes_by_sudo_and_says_so_when_that_wants_a_password(board, monkeypatch):
    monkeypatch.setattr(nvpmodel.os, "geteuid", lambda: 1000)
    tool = NvpModel()
    tool.change(tool.modes[0])
    assert board.mode == "15W"
    (board.folder / "password").touch()
    with pytest.raises(
        BadInput, match=r"sudo asks for a password: run sudo -v first, or .* NOPASSWD: .*/nvpmodel"
    ) as caught:
        NvpModel()
    assert caught.value.exit_code == 2


def test_where_there_is_no_nvpmodel(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="there is no nvpmodel here"):
        NvpModel()
    assert nvpmodel.current() is None


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ("pmode:0001", "25W"),
        ("pmode:0008 fmode:quiet", None),  # Xavier NX, whose mode 8 this board has not
        ("pmode:0000 fmode:cool", "15W"),
        ("pmode:", None),
        ("", None),
    ],
)
def test_the_mode_by_its_files_where_nvpmodel_tells_nothing(tmp_path, monkeypatch, status, name):
    monkeypatch.setenv("PATH", str(tmp_path))
    for place, text in (("STATUS", status), ("CONF", LISTS[2][0])):
        monkeypatch.setattr(nvpmodel, place, tmp_path / place)
        (tmp_path / place).write_text(text)
    assert nvpmodel.current() == name


def test_modes_come_from_the_configuration_when_nvpmodel_lists_none(board, tmp_path, monkeypatch):
    tool = board.folder / "nvpmodel"
    tool.write_text(tool.read_text().replace("NVPM VERB: POWER_MODEL", "NVPM VERB: NOTHING"))
    monkeypatch.setattr(nvpmodel, "CONF", tmp_path / "nvpmodel.conf")
    with pytest.raises(BadInput, match=r"names no power modes, and neither does .*nvpmodel\.conf"):
        NvpModel()
    (tmp_path / "nvpmodel.conf").write_text("< POWER_MODEL ID=1 NAME=25W >\n")
    assert NvpModel().now() == PowerMode(1, "25W")
