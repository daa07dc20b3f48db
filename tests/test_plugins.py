"""Plugins: discovery through real metadata, isolation of what is broken, and options checked against signatures."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reg2rg import hookspecs, plugins
from reg2rg.errors import UserError

Install = Callable[..., Path]

HOOK = """
import reg2rg

@reg2rg.hookimpl
def {hook}(register):
    register({arguments})
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package as pip would leave it: modules, and a dist-info folder with an entry point in our group."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def install(package: str, code: str, parts: str = "", value: str | None = None, metadata: bool = True) -> Path:
        module = package.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(code))
        (tmp_path / f"{module}_parts.py").write_text(textwrap.dedent(parts))
        info = tmp_path / f"{module}-1.2.dist-info"
        info.mkdir()
        if metadata:
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[reg2rg]\nmain = {value or module}\n")
        plugins.registry.cache_clear()
        return info

    plugins.registry.cache_clear()
    yield install
    plugins.registry.cache_clear()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(tmp_path)):
            del sys.modules[name]


def offering(name: str, target: str, kind: str = "metric", more: str = "") -> str:
    return HOOK.format(hook=plugins.KINDS[kind], arguments=f"{name!r}, {target!r}{more}")


def fault(kind: str, name: str, options: dict[str, object] | None = None, **filled: object) -> str:
    with pytest.raises(UserError) as caught:
        plugins.resolve(kind, name, options, **filled)
    assert caught.value.code == 1
    return str(caught.value)


# --- hooks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "hook"), plugins.KINDS.items())
def test_each_kind_has_a_documented_hook(kind: str, hook: str) -> None:
    function = getattr(hookspecs, hook)
    assert inspect.getdoc(function) and "``" in str(inspect.getdoc(function)), f"{hook} doesn't say what a {kind} offers"
    assert list(inspect.signature(function).parameters) == ["register"]


def test_each_hook_has_a_kind() -> None:
    hooks = {n for n in dir(hookspecs) if n.startswith("register_")}
    assert hooks == set(plugins.KINDS.values())


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_a_third_party_can_offer_each_kind(install: Install, kind: str) -> None:
    install("lab-tools", offering("mine", "lab_tools_parts:Part", kind, ", summary='ours'"), "class Part: pass")
    offer = plugins.registry().find(kind, "mine")
    assert (offer.package, offer.version, offer.summary, offer.kind) == ("lab-tools", "1.2", "ours", kind)
    assert type(plugins.resolve(kind, "mine")).__name__ == "Part"


def test_the_defaults_come_through_the_same_group() -> None:
    offers = plugins.collect(plugins._read_metadata()[0]).offers
    assert {o.package for o in offers} >= {"reg2rg"}
    assert {o.kind for o in offers if o.package == "reg2rg"} == set(plugins.KINDS)


def test_listing_imports_no_target(install: Install) -> None:
    install("lab-tools", offering("mine", "lab_tools_parts:Part"), "raise RuntimeError('imported')")
    assert plugins.registry().find("metric", "mine").target == "lab_tools_parts:Part"
    assert "lab_tools_parts" not in sys.modules


def test_a_core_without_plugins_lists_nothing_and_explains_itself() -> None:
    empty = plugins.collect([])
    assert empty.offers == empty.broken == ()
    with pytest.raises(UserError, match=r"no metric is called 'bleu'\. None is known here\."):
        empty.find("metric", "bleu")


# --- isolation -----------------------------------------------------------------------------------------------------

BROKEN = {
    "raises at import": ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    "needs what is absent": ("import a_module_that_is_absent", "No module named 'a_module_that_is_absent'"),
    "leaves the process": ("import sys\nsys.exit('run me as a script')", "SystemExit: run me as a script"),
    "has a syntax error": ("def register_metrics(:", "SyntaxError"),
    "hook raises": ("import reg2rg\n@reg2rg.hookimpl\ndef register_metrics(register):\n    1 / 0", "ZeroDivisionError"),
    "unknown hook": ("import reg2rg\n@reg2rg.hookimpl\ndef register_metric(register): ...", "Did you mean 'register_metrics'"),
    "marked but no hook": ("import reg2rg\n@reg2rg.hookimpl\ndef on_start(): ...", "unknown hook 'on_start'"),
    "unmarked hook": ("def register_metrics(register): ...", "isn't marked with @reg2rg.hookimpl"),
    "wrong argument": ("import reg2rg\n@reg2rg.hookimpl\ndef register_metrics(registry): ...", "registry"),
    "target no string": (offering("m", "x:Y").replace("'x:Y'", "print"), "'module:Object' string"),
    "target no object": (offering("m", "x.Y"), "must register a plain name and a 'module:Object' string, not 'x.Y'"),
    "name with a colon": (offering("a:b", "x:Y"), "plain name"),
    "registered twice": (offering("m", "x:Y") + "    register('m', 'x:Z')\n", "metric 'm' is registered twice"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_package_is_named_and_takes_nothing_down(install: Install, case: str) -> None:
    code, reason = BROKEN[case]
    install("bad-tools", code)
    install("lab-tools", offering("mine", "lab_tools_parts:Part"), "class Part: pass")
    registry = plugins.registry()
    (broken,) = registry.broken
    assert broken.package == "bad-tools" and reason in broken.reason and "\n" not in broken.reason
    assert registry.find("metric", "mine").package == "lab-tools"
    assert registry.find("metric", "bleu").package == "reg2rg"
    assert "Package 'bad-tools' could not be loaded" in fault("metric", "nowhere")


def test_a_helper_called_like_a_hook_is_nobodys_business(install: Install) -> None:
    install("lab-tools", offering("mine", "x:Y") + "\ndef register_everything(): ...\n")
    assert not plugins.registry().broken and plugins.registry().named("mine")


def test_an_entry_point_that_is_no_name_is_broken() -> None:
    registry = plugins.collect([EntryPoint("main", "not a module!", "reg2rg")])
    assert registry.broken[0].reason == "TypeError: its entry point 'not a module!' is neither 'module' nor 'module:object'"


def test_unreadable_metadata_hides_none_of_the_others(install: Install) -> None:
    info = install("bad-tools", offering("other", "x:Y"))
    (info / "entry_points.txt").write_text("[reg2rg]\nthis line has no equals sign\n")
    install("lab-tools", offering("mine", "lab_tools_parts:Part"))
    registry = plugins.registry()
    assert registry.find("metric", "mine") and registry.find("metric", "bleu")
    assert ["bad_tools" in b.package for b in registry.broken] == [True]


def test_metadata_without_a_name_falls_back_to_the_module(install: Install) -> None:
    install("lab-tools", offering("mine", "lab_tools_parts:Part"), metadata=False)
    registry = plugins.registry()
    assert "lab_tools" in {o.package for o in registry.offers} | {b.package for b in registry.broken}
    assert registry.find("metric", "bleu")


# --- names ---------------------------------------------------------------------------------------------------------


def test_a_clash_names_both_packages_only_when_used(install: Install) -> None:
    install("lab-tools", offering("bleu", "lab_tools_parts:Part"), "class Part: pass")
    registry = plugins.registry()
    assert not registry.broken and registry.find("metric", "rouge").package == "reg2rg"
    message = fault("metric", "bleu")
    assert "metric 'bleu' is offered by 'lab-tools' and 'reg2rg'." in message
    assert "Write 'lab-tools:bleu' or 'reg2rg:bleu' to pick one." in message


@pytest.mark.parametrize("name", ["lab-tools:bleu", "lab_tools:bleu", "Lab.Tools:bleu"])
def test_a_package_name_picks_one(install: Install, name: str) -> None:
    install("lab-tools", offering("bleu", "lab_tools_parts:Part"), "class Part: pass")
    assert type(plugins.resolve("metric", name)).__module__ == "lab_tools_parts"


def test_the_same_name_under_two_kinds_is_no_clash(install: Install) -> None:
    install("lab-tools", offering("twin", "a:B", "metric") + offering("twin", "a:C", "labeler").replace("import reg2rg", ""))
    assert plugins.registry().find("metric", "twin").target == "a:B"
    assert plugins.registry().find("labeler", "twin").target == "a:C"


def test_one_package_offering_a_name_twice_is_named(install: Install) -> None:
    info = install("lab-tools", offering("mine", "a:B"))
    (info.parent / "lab_again.py").write_text(offering("mine", "a:C"))
    (info / "entry_points.txt").write_text("[reg2rg]\na = lab_tools\nb = lab_again\n")
    assert "That package offers it twice" in fault("metric", "mine")


def test_an_unknown_name_gets_near_names() -> None:
    assert fault("metric", "blue") == "no metric is called 'blue'. Did you mean 'bleu'?"
    assert "Did you mean 'bleu'?" in fault("metric", "BLEU")
    assert "Did you mean 'threshold'?" in fault("segmenter", "treshold")


def test_an_unknown_name_with_nothing_near_gets_all_names() -> None:
    assert "Known: " in fault("volume-encoder", "zzz") and "vit3d" in fault("volume-encoder", "zzz")


# --- targets -------------------------------------------------------------------------------------------------------


def test_a_missing_requirement_is_said_before_the_import(install: Install) -> None:
    code = offering("mine", "lab_tools_parts:Part", more=", requires=('json', 'absent_one', 'absent.two')")
    install("lab-tools", code, "raise RuntimeError('imported')")
    assert plugins.registry().find("metric", "mine").missing() == ["absent_one", "absent.two"]
    message = fault("metric", "mine")
    assert "metric 'mine' of package 'lab-tools' needs the module absent_one and absent.two, which is not installed" in message
    assert "pip install absent_one absent.two" in message


def test_one_requirement_may_be_a_plain_string(install: Install) -> None:
    install("lab-tools", offering("mine", "a:B", more=", requires='absent_one'"))
    assert plugins.registry().find("metric", "mine").missing() == ["absent_one"]


TARGETS = {
    "module absent": ("lab_tools_nowhere:Part", "", "No module named 'lab_tools_nowhere'"),
    "object absent": ("lab_tools_parts:Prat", "class Part: pass", "no attribute 'Prat'"),
    "import fails": ("lab_tools_parts:Part", "raise ValueError('bad table')", "ValueError: bad table"),
    "not callable": ("lab_tools_parts:Part", "Part = 3", "is 3, not a class or a function"),
    "constructor fails": ("lab_tools_parts:Part", "class Part:\n    def __init__(self): 1 / 0", "could not be built"),
}


@pytest.mark.parametrize("case", TARGETS)
def test_a_wrong_target_names_the_plugin_and_its_package(install: Install, case: str) -> None:
    target, parts, reason = TARGETS[case]
    install("lab-tools", offering("mine", target), parts)
    message = fault("metric", "mine")
    assert message.startswith("metric 'mine' of package 'lab-tools' ") and reason in message


def test_a_plugins_own_user_error_passes_unchanged(install: Install) -> None:
    parts = "from reg2rg.errors import UserError\nclass Part:\n    def __init__(self): raise UserError('no table', 'x.csv')"
    install("lab-tools", offering("mine", "lab_tools_parts:Part"), parts)
    assert fault("metric", "mine") == "x.csv: no table."


def test_a_target_may_be_a_function_or_nested(install: Install) -> None:
    parts = "class Shelf:\n    class Part:\n        shade = 'red'\ndef make(shade: str = 'blue'):\n    return shade"
    install(
        "lab-tools", offering("nested", "lab_tools_parts:Shelf.Part") + "    register('made', 'lab_tools_parts:make')\n", parts
    )
    assert plugins.resolve("metric", "nested").shade == "red"
    assert plugins.resolve("metric", "made", {"shade": "green"}) == "green"


# --- options -------------------------------------------------------------------------------------------------------

PART = """
    from __future__ import annotations
    import dataclasses
    from pathlib import Path
    from typing import TYPE_CHECKING, Literal
    if TYPE_CHECKING:
        from nowhere import Shape

    class Part:
        def __init__(self, size: tuple[int, int, int], rate: float = 0.1, count: int = 3, shape: Shape | None = None,
                     mode: Literal["soft", "hard"] = "soft", folder: Path = Path("."), name: str = "", deep: bool = False):
            self.options = dict(locals())
            del self.options["self"]

    @dataclasses.dataclass
    class Data:
        width: int
        rate: float = 1.0
"""


@pytest.fixture
def part(install: Install) -> Install:
    install("lab-tools", offering("part", "lab_tools_parts:Part") + "    register('data', 'lab_tools_parts:Data')\n", PART)
    return install


def test_options_are_coerced_to_their_declared_types(part: Install) -> None:
    text = {"size": [1, 2, 3], "rate": "5e-5", "count": "7", "mode": "hard", "folder": "/data", "name": 113, "deep": "yes"}
    options = plugins.resolve("metric", "part", text).options
    assert options["size"] == (1, 2, 3) and options["rate"] == 5e-5 and options["count"] == 7
    assert options["folder"] == Path("/data") and options["name"] == "113" and options["deep"] is True
    assert options["shape"] is None


def test_a_type_for_checkers_only_is_passed_through(part: Install) -> None:
    assert plugins.resolve("metric", "part", {"size": (1, 1, 1), "shape": "round", "count": "2"}).options["shape"] == "round"


def test_all_faulty_options_are_named_at_once(part: Install) -> None:
    message = fault("metric", "part", {"cuont": 1, "rate": "fast", "mode": "sotf"})
    assert "unknown option 'cuont' (Did you mean 'count'?)" in message
    assert "option 'rate' is 'fast': input should be a valid number" in message
    assert "option 'mode' is 'sotf': input should be 'soft' or 'hard'" in message
    assert "option 'size' is missing" in message
    assert message.endswith("See: reg2rg plugins show part")


def test_what_the_toolkit_knows_fills_only_what_is_asked_for(part: Install) -> None:
    options = plugins.resolve("metric", "part", {"count": 9}, size=(4, 4, 4), count=1, width=12).options
    assert options["size"] == (4, 4, 4) and options["count"] == 9
    assert plugins.resolve("metric", "data", None, width=12, size=(4, 4, 4)).width == 12


def test_a_dataclass_is_checked_like_any_class(part: Install) -> None:
    assert plugins.resolve("metric", "data", {"width": "5"}).width == 5
    assert "option 'width' is 'wide'" in fault("metric", "data", {"width": "wide"})


def test_options_without_a_declared_type_are_left_alone(install: Install) -> None:
    install(
        "lab-tools", offering("mine", "lab_tools_parts:make"), "def make(a, *rest, b=2, **more):\n    return a, b, rest, more"
    )
    assert plugins.resolve("metric", "mine", {"a": "5e-5"}) == ("5e-5", 2, (), {})
    assert "unknown option 'c'" in fault("metric", "mine", {"a": 1, "c": 2})


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_written_as_text_is_the_number(value: float) -> None:
    def make(rate: float) -> float:
        return rate

    assert plugins.arguments(make, {"rate": repr(value)}, {}) == ({"rate": value}, [])


@given(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=8), max_size=5))
def test_any_options_give_arguments_or_faults_never_a_traceback(options: dict[str, object]) -> None:
    def make(rate: float = 0.0, names: list[str] | None = None) -> None: ...

    given_, faults = plugins.arguments(make, options, {"rate": 1.0})
    if not faults:
        make(**given_)
    assert all("\n" not in f or any("\n" in str(k) for k in options) for f in faults)
