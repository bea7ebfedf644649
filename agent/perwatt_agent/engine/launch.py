"""Launch signature of an engine: how its processes look, and what its launch options mean."""

from msgspec import Struct

TENSOR_PARALLEL = ("--tensor-parallel-size", "--tp-size", "--tp", "-tp")
PIPELINE_PARALLEL = ("--pipeline-parallel-size", "--pp-size", "--pp", "-pp")
DATA_PARALLEL = ("--data-parallel-size", "--dp-size", "--dp", "-dp")


class RankLaunch(Struct, frozen=True, kw_only=True):
    """
    How a launch divides an engine into data-parallel ranks.

    The options `degree` give the ranks of the whole engine, `local` those of this launch. With one of the
    options `single`, this launch is one rank. `own_server` matches the program of a rank that has a page of
    its own, and captures its number; the ranks of one launch have consecutive ports from the rank that
    `first` gives on.
    """

    degree: tuple[str, ...]
    local: tuple[str, ...] = ()
    single: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    own_server: str | None = None


class Launch(Struct, frozen=True, kw_only=True):
    """
    The command lines of one engine. Patterns match a program from its start, without folder and interpreter.
    They are text, because compiling those of all engines would delay the agent's first page.

    `serves` matches the programs that may serve its page. `serves_at_port` matches further programs, which
    are tried only at the port that the launch names.

    The launch names its port by one of `port_options` or else by the environment variable `port_variable`.
    If it names none, `default_port` holds; without a `default_port` the engine then has no page.

    `degrees` are groups of options. The product of their values is the number of GPUs that the launch
    requests; with the option `flat_with`, the last group does not multiply. `each_alone` means that a
    process below another of the same engine is an engine of its own, not a worker. `through` is for a
    launch that other software shares: only processes that run as, or below, a program it matches belong
    to the engine. An engine without a page has `absence`, which says why and what to do. `ranks` is for an
    engine whose page labels the data-parallel ranks that it counts. `shares_kv` is found anywhere in a
    command line that joins workers although no option says so.
    """

    serves: str
    default_port: int | None = None
    serves_at_port: str | None = None
    port_options: tuple[str, ...] = ("--port",)
    port_variable: str = ""
    degrees: tuple[tuple[str, ...], ...] = ()
    ranks: RankLaunch | None = None
    flat_with: str = ""
    each_alone: bool = False
    through: str | None = None
    absence: str = ""
    shares_kv: str | None = None
