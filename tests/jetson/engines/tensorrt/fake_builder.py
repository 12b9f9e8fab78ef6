"""A TensorRT to build with that does as it is told: what the real one does not do on demand, or not without a GPU."""

from __future__ import annotations

from pathlib import Path

SOURCE = """
import os, signal, sys, time
__version__ = "{version}"
DO = {do!r}


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = "IE", "E", "W", "I", "V"


class IProgressMonitor:
    pass


class Flag:
    def __int__(self):
        return 1


class NetworkDefinitionCreationFlag:
    STRONGLY_TYPED = Flag()


class MemoryPoolType:
    WORKSPACE = "workspace"


class BuilderFlag:
    TF32 = "TF32"


class Tensor:
    def __init__(self, name, shape):
        self.name, self.shape = name, shape


class Network:
    num_inputs = num_outputs = 1

    def get_input(self, index):
        return self.source

    def get_output(self, index):
        return self.target


class Fault:
    def node_name(self):
        return ""

    def node_operator(self):
        return "Odd"

    def desc(self):
        return ""


class OnnxParser:
    num_errors = 1

    def __init__(self, network, logger):
        self.network = network

    def parse_from_file(self, file):
        if DO == "crash on " + os.path.basename(os.fsdecode(file)):
            os.kill(os.getpid(), signal.SIGSEGV)
        self.network.source, self.network.target = Tensor("x", (1, 4)), Tensor("y", (1, 4))
        return DO != "refuse"

    def get_error(self, index):
        return Fault()


class Config:
    def set_memory_pool_limit(self, pool, size):
        assert pool == "workspace"
        self.workspace = size

    def clear_flag(self, flag):
        assert flag == "TF32"
        self.exact = True


class Builder:
    def __init__(self, logger):
        if DO == "no builder":
            raise TypeError("factory function returned nullptr")
        self.logger = logger

    def create_network(self, flags):
        assert flags == 2
        return Network()

    def create_builder_config(self):
        return Config()

    def build_serialized_network(self, network, config):
        self.logger.log(ILogger.WARNING, "the\\n weather  is fine")
        self.logger.log(ILogger.INFO, "nobody wants to know")
        print("this is for a person", flush=True)
        os.write(1, b'{{"type": "built"}}\\n')
        config.progress_monitor.phase_start("Building", None, 4)
        if DO == "crash":
            self.logger.log(ILogger.ERROR, "about to fall over")
            os.kill(os.getpid(), signal.SIGSEGV)
        if DO == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if DO == "exit":
            sys.stderr.write("libstrange: cannot go on\\n")
            sys.stderr.flush()
            os._exit(7)
        if DO == "deaf":
            time.sleep(600)
        for step in range(4):
            while config.progress_monitor.step_complete("Building", step) and DO == "patient":
                time.sleep(0.01)
        config.progress_monitor.phase_finish("Building")
        if DO == "nothing":
            self.logger.log(ILogger.ERROR, "no tactic for node mix")
        if DO in ("nothing", "patient"):
            return None
        return b"plan of %d bytes workspace" % (config.exact and config.workspace)


class Engine:
    device_memory_size_v2 = 4096


class Runtime:
    def __init__(self, logger):
        pass

    def deserialize_cuda_engine(self, plan):
        return None if DO == "no engine" else Engine()
"""


def install(folder: Path, do: str = "", package: str = "tensorrt", version: str = "10.3.0") -> Path:
    """Write it as a module into a new folder, which is for `sys.path`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{package}.py").write_text(SOURCE.format(version=version, do=do))
    return folder
