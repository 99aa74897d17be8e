"""Check the layers of the packages: which module may import which.

Run by `.ci/run check` and by the tests. It only reads the files, so it needs nothing installed:

    python tests/layout.py

To add a module, put its name on a layer of its package in `FLOORS`; a package may be split into
wings, each with floors of its own. A module imports lower floors and its own, never higher ones.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONGEST = 400  # lines of a module

# The floors of each package from the bottom to the top. A floor is a module, or a package, of
# which everything inside counts. Where `__init__` is a floor it imports what is below it.
FLOORS = {
    "azinfer.core": """
        lazy pydantic_schemas waits
        interruptions locks version clock json_fields citations routing completions errors
        redaction toml_tables reasoning structured_output answer_details
        json_text error_bodies error_responses decoding chunks sse surfaces arguments
        deployments endpoints proxies account_search deployment_lists secret_names retries deadline
        message_parts messages request_options option_signatures json_body model_catalog
        model_profiles stream_reader
        choice_parts streaming wires
        observation embeddings embedding_requests vector_bodies
        local_addresses client_config credentials endpoint_knowledge
        routes
        network
        calls embedding_calls detours legs request_headers attempts hedging journeys
        routed_attempts names router streams
        base_client rerank image_embeddings discovery operations files batch_requests batches bulk
        many_signatures sync_operations async_operations sync_bulk_operations async_bulk_operations
        client
        __init__
    """,
    "azinfer.core.routes": """
        facts guard policy breaker affinity lease budget vector_lengths waiting route state choice
        failover resolution plan
        demand traffic config
        __init__
    """,
    "azinfer.core.wires": """
        wire fields state turns reader selection chat responses messages
        __init__
    """,
    "azinfer.core.bulk": """
        values unstated_limit pace checkpoint jobs parts run threads tasks begin
        __init__
    """,
    "azinfer.core.network": """
        upload request address tls http1 pool httpx_connection dialing waiter connection
        async_connection
        body exceptions transport
        __init__
    """,
    "azinfer.otel": """
        conventions frameworks contents call attempts instrumentation instrumentor
        __init__
    """,
    "azinfer.migrate": """
        report rules program bindings kind_tables kinds context quotes
        dictionaries constructors dumps methods model_objects litellm_calls imports
        unused_imports mocks notes rewriter
        __init__
    """,
    "azinfer.redis": """
        scripts reports facts sharing
        __init__
    """,
    # The wings of the local endpoint.
    "azinfer.local": """
        directories file_lock turns worker_threads
        wire engines resource api server config endpoint endpoints cli
        __init__
    """,
}

# What other packages may import of a package: modules, or names of modules.
PUBLIC: dict[str, frozenset[str]] = {
    "azinfer.core.network": frozenset(
        {
            *("AsyncTransport", "OpenResponse", "Progress", "Request", "SharedHeaders"),
            *("Transport", "Upload"),
        }
    ),
}

# What the local endpoint may import of core; only its command line uses the client.
LOCAL_FROM_CORE = (
    *("clock", "deadline", "deployments", "errors", "model_catalog", "network", "retries"),
    *("toml_tables", "version", "waits"),
)

# Its names are types of higher floors: who writes `lazy.Name` counts as importing Name.
LAZY = "azinfer.core.lazy"

# Where a request comes from is not for engines to know.
HIDDEN_FROM_ENGINES = "azinfer.local.wire.surfaces"

# The operations of the local endpoint: folders of its `api` with the same names for the same jobs.
OPERATIONS = (
    *("admin", "batches", "chat", "embeddings", "management", "messages", "rerank", "responses"),
)

# The only modules that import a package of others, and what it is.
USERS: dict[str, frozenset[str]] = {
    "httptools": frozenset({"azinfer.core.network.http1"}),
    "ssl": frozenset({"azinfer.core.network.tls"}),
}
CORE_USERS: dict[str, frozenset[str]] = {
    "httpx": frozenset({"azinfer.core.network.httpx_connection"}),
    "socket": frozenset({"azinfer.core.network.connection", "azinfer.core.network.dialing"}),
}


@cache
def modules() -> dict[str, Path]:
    """Return the file of each module of azinfer."""
    values = {}
    for root in (ROOT / "core", ROOT / "integrations"):
        for path in sorted(root.glob("azinfer/**/*.py")):
            values[".".join(path.relative_to(root).with_suffix("").parts)] = path
    return values


@cache
def tree_of(module: str) -> ast.Module:
    """Return the syntax of a module."""
    return ast.parse(modules()[module].read_text("utf-8"))


@cache
def lazy_names() -> dict[str, str]:
    """Return the type behind each name of the lazy module, as `module.name`."""
    imports = [node for node in ast.walk(tree_of(LAZY)) if isinstance(node, ast.ImportFrom)]
    names = {name.name: f"{node.module}.{name.name}" for node in imports for name in node.names}
    return {name: path for name, path in names.items() if path.startswith("azinfer.")}


@cache
def imports_of(module: str) -> frozenset[str]:
    """Return what a module imports anywhere in it, each name as `module.name`."""
    names: set[str] = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "lazy":
            names.add(lazy_names()[node.attr])
    return frozenset(names - set(lazy_names().values()) if module == LAZY else names)


def floor_of(name: str, package: str) -> str:
    """Return the floor of a package to which a module, or a name in it, belongs."""
    floor = name.removeprefix(f"{package}.").partition(".")[0]
    is_floor = f"{package}.{floor}" in modules() or f"{package}.{floor}.__init__" in modules()
    return floor if is_floor else "__init__"


def climbing_imports() -> Iterator[str]:
    """Find imports of a higher floor, and modules on no floor."""
    for package, names in FLOORS.items():
        floors = names.split()
        inside = [name for name in modules() if name.startswith(f"{package}.")]
        on_floors = {floor_of(name, package) for name in inside}
        for floor in sorted(on_floors ^ set(floors)):
            yield f"tests/layout.py: {package}.{floor}: put it on a floor, or remove the floor"
        for module in inside:
            own = floor_of(module, package)
            allowed = floors[: floors.index(own) + 1] if own in floors else []
            for name in sorted(imports_of(module)):
                if name.startswith(f"{package}.") and floor_of(name, package) not in allowed:
                    yield f"{modules()[module].relative_to(ROOT)}: {name} is on a higher floor"


def private_imports() -> Iterator[str]:
    """Find imports of what a package keeps to itself, and of another module's private names."""
    for module in modules():
        path = modules()[module].relative_to(ROOT)
        for name in sorted(imports_of(module)):
            for package, public in PUBLIC.items():
                inner = name.removeprefix(f"{package}.")
                if inner != name and not module.startswith(package) and inner not in public:
                    yield f"{path}: {name} is private to {package}"
            if module.startswith(tuple(FLOORS)) and re.search(r"^azinfer\..*\._[^_]\w*$", name):
                yield f"{path}: {name} is private to its module"


def adapters() -> list[str]:
    """Return the names of the packages for frameworks."""
    return sorted(path.parent.name for path in (ROOT / "integrations").glob("azinfer/*/py.typed"))


@cache
def public_names_of_core() -> frozenset[str]:
    """Return what `azinfer.core` exports."""
    (names,) = (
        ast.literal_eval(node.value)
        for node in tree_of("azinfer.core.__init__").body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return frozenset(names)


def adapters_inside_core_or_each_other() -> Iterator[str]:
    """Find imports of an adapter that are neither its own nor public names of core."""
    for module in modules():
        own = ".".join(module.split(".")[:2])
        if own.removeprefix("azinfer.") not in adapters():
            continue
        for name in sorted(imports_of(module)):
            allowed = name.startswith(own) or name in ("azinfer.core", "azinfer")
            allowed |= name.removeprefix("azinfer.core.") in public_names_of_core()
            if name.startswith("azinfer") and not allowed:
                yield f"{modules()[module].relative_to(ROOT)}: {name} is not public"


def clients_inside_the_local_endpoint() -> Iterator[str]:
    """Find imports of core in the local endpoint that its command line alone may have."""
    allowed = tuple(f"azinfer.core.{name}." for name in LOCAL_FROM_CORE)
    for module in modules():
        if not re.match(r"azinfer\.local\.(?!cli\.|__init__)", module):
            continue
        for name in sorted(imports_of(module)):
            if name.startswith("azinfer.core") and not name.startswith(allowed):
                yield f"{modules()[module].relative_to(ROOT)}: {name} is not for the endpoint"


def surfaces_inside_engines() -> Iterator[str]:
    """Find engines that know through which surface a request comes."""
    for module in modules():
        if module.startswith("azinfer.local.engines."):
            for name in sorted(imports_of(module)):
                if name.startswith(HIDDEN_FROM_ENGINES):
                    yield f"{modules()[module].relative_to(ROOT)}: engines do not know {name}"


def folders_that_are_no_operation() -> Iterator[str]:
    """Find folders of the local endpoint's `api` that are not one operation."""
    api = ROOT / "core/azinfer/local/api"
    folders = {path.parent.name for path in api.glob("*/__init__.py")}
    for name in sorted(folders ^ set(OPERATIONS)):
        yield f"{(api / name).relative_to(ROOT)}: put it into OPERATIONS, or remove it from there"
    for name in sorted(folders):
        if not (api / name / "operation.py").exists():
            yield f"{(api / name).relative_to(ROOT)}: an operation has a module operation.py"


def targets_of(module: str) -> set[str]:
    """Return the modules of azinfer that a module imports."""
    targets = set()
    for name in imports_of(module):
        inner = name if name in modules() else name.rpartition(".")[0]
        targets.add(inner if inner in modules() else f"{inner}.__init__")
    return targets & modules().keys() - {module}


def circles() -> Iterator[str]:
    """Find modules of the local endpoint that import themselves through others."""
    for module in modules():
        reached: set[str] = set()
        left = [module] if module.startswith("azinfer.local.") else []
        while left:
            new = targets_of(left.pop()) - reached
            reached |= new
            left += new
        if module in reached:
            yield f"{modules()[module].relative_to(ROOT)}: imports itself through other modules"


def packages_of_others_in_too_many_modules() -> Iterator[str]:
    """Find modules that import a package of others which belongs to one module."""
    for module in modules():
        used = {name.partition(".")[0] for name in imports_of(module)}
        is_core = module.startswith("azinfer.core.")
        for package, users in {**USERS, **(CORE_USERS if is_core else {})}.items():
            if package in used and module not in users and is_core:
                yield f"{modules()[module].relative_to(ROOT)}: {package} belongs to {set(users)}"


def long_modules() -> Iterator[str]:
    """Find modules with too many lines to read at once."""
    for path in modules().values():
        lines = path.read_text("utf-8").count("\n")
        if lines > LONGEST:
            yield f"{path.relative_to(ROOT)}: {lines} lines; the most are {LONGEST}"


def modules_of_the_namespace() -> Iterator[str]:
    """Find modules directly in `azinfer`, which has to stay a namespace without them."""
    for path in ROOT.glob("*/azinfer/*.py"):
        yield f"{path.relative_to(ROOT)}: azinfer is a namespace; no module belongs there"


def problems() -> list[str]:
    """Return everything that does not follow the plan."""
    checks = (
        climbing_imports,
        private_imports,
        adapters_inside_core_or_each_other,
        clients_inside_the_local_endpoint,
        surfaces_inside_engines,
        folders_that_are_no_operation,
        circles,
        packages_of_others_in_too_many_modules,
        long_modules,
        modules_of_the_namespace,
    )
    return [problem for check in checks for problem in check()]


if __name__ == "__main__":
    result = problems()
    print("\n".join(result) or f"{len(modules())} modules follow the plan")  # noqa: T201
    sys.exit(bool(result))
