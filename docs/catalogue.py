"""Write the pages of the reference from signatures and docstrings, which stay the only home of every formula."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pictures

import tracetorch as tt
from tracetorch import plot

SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Example", "States")
FAMILIES = {
    "readout": ("Neurons that integrate", "no spikes: the output is the membrane", "LI LIEMA"),
    "binary": ("Neurons with binary spikes", "they fire upwards: the output is 0 or a spike", "LIB"),
    "ternary": ("Neurons with ternary spikes", "they fire upwards and downwards", "LIT"),
    "scaled": ("Neurons with scaled spikes", "ternary spikes, each direction with its own amplitude", "LITS"),
    "more": ("Other ready-made neurons", "compositions beyond the 32", ""),
}
API = {
    "Composing": ("compose", "Stage", "State"),
    "Parameters of a stage": ("Parameter", "Decay", "Positive", "Bias", "Real"),
    "Running": ("scan", "backend", "explain", "aot"),
    "Layers and models": ("Layer", "snn.Layer", "Linear", "Feedback", "Model"),
    "States of a model": ("zero_states", "detach_states", "save_states", "load_states"),
    "Constants for inference": ("TTcompile", "TTdecompile"),
    "Knowing a network": ("activity", "calibrate"),
    "From and to NIR": ("from_nir", "to_nir", "nir_report"),
}


def write(folder: Path) -> None:
    """Write every generated page; a page whose text has not changed is left alone, so that builds stay quick."""
    folder.mkdir(exist_ok=True)
    pages = {"stages.md": stage_page(), "api.md": api(), "plot.md": plots(), "lib_forward.txt": generated_code()}
    pages |= {f"neurons-{key}.md": family(key) for key in FAMILIES if classes(key)}
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def copy_notebooks(folder: Path) -> None:
    """Put the notebooks, which live beside the documentation, where Sphinx looks for pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for notebook in (Path(__file__).parents[1] / "notebooks").glob("*.ipynb"):
        copy = folder / notebook.name
        if not copy.exists() or copy.read_bytes() != notebook.read_bytes():
            copy.write_bytes(notebook.read_bytes())


def markdown(doc: str) -> str:
    """Turn a docstring into Markdown: indented formulas become code, sections become definition lists."""
    out = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(doc)):
        first, *rest = paragraph.split("\n")
        title = first.split(" (")[0].rstrip(":")
        if first.startswith("    "):
            code = textwrap.dedent(paragraph)
            language = "python" if ("tt." in code or "self." in code) and "(" in code else "text"
            out.append(f"```{language}\n{code}\n```")
        elif first.endswith(":") and title in SECTIONS and rest:
            out += [f"**{first.rstrip(':')}**", _entries(rest)]
        else:
            out.append(prose(paragraph))
    return "\n\n".join(out)


def _entries(lines: list[str]) -> str:
    """Turn `name: text` lines, with their continuations, into a bullet list."""
    items: list[str] = []
    for line in textwrap.dedent("\n".join(lines)).split("\n"):
        if line.startswith(" ") and items:
            items[-1] += " " + line.strip()
        else:
            items.append(line.strip())
    out = []
    for item in items:
        name, colon, text = item.partition(": ")
        is_name = bool(colon) and re.fullmatch(r"[\w*.]+(, [\w*.]+)*", name)
        if is_name:
            out.append(f"- `{name}`: {prose(text)}")
        else:
            out.append(f"- `{item}`" if re.fullmatch(r"\w+", item) else f"- {prose(item)}")
    return "\n".join(out)


def prose(text: str) -> str:
    """Escape what Markdown would read as emphasis or markup, outside code spans."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([*<])", r"\\\1", p) for p in parts)


def signature(name: str, call: Callable[..., Any]) -> str:
    """Write a call as code, one argument per line where it would be long."""
    try:
        parameters = [p.replace(annotation=p.empty) for p in inspect.signature(call).parameters.values()]
    except (TypeError, ValueError):
        return f"```python\n{name}\n```"
    shown = [re.sub(r"=<function (\w+) at .*>", r"=\1", str(p)) for p in parameters]
    keyword = next((i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY), None)
    if keyword is not None and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        shown.insert(keyword, "*")
    line = f"{name}({', '.join(shown)})"
    if len(line) > 76:
        body = textwrap.fill(", ".join(shown), 72, break_long_words=False)
        line = f"{name}(\n{textwrap.indent(body, '    ')})"
    return f"```python\n{line}\n```"


def stages() -> list[type[tt.Stage]]:
    """Return every public stage, in the order of places."""
    found = [v for v in vars(tt).values() if isinstance(v, type) and issubclass(v, tt.Stage) and v is not tt.Stage]
    places = tt.stages.PLACES
    return sorted(dict.fromkeys(found), key=lambda stage: places.index(stage.place))


def stage_page() -> str:
    """Return the page of all stages."""
    rows = [f"| [`tt.{s.__name__}`](stage-{s.__name__}) | {s.place} | {_letter(s)} | {prose(_summary(s))} |"
            for s in stages()]
    head = [
        "# Stages", "",
        "A stage is one property of a neuron. `tt.compose` puts stages together to a class of neurons; "
        "[](../write_a_stage.md) shows how to add your own. This page is made from the docstrings of the stages.", "",
        "Stages run in the order of their places, whatever the order in which they are named. A letter is what the "
        "stage adds to the name of a class, as in `DSLIT`.", "",
        "| stage | place | letter | what it does |", "|---|---|---|---|", *rows, ""]
    return "\n".join(head) + "\n" + "\n".join(_stage(s) for s in stages())


def _letter(stage: type[tt.Stage]) -> str:
    return f"`{stage.symbol}`" if stage.symbol else ""


def _summary(stage: type[tt.Stage]) -> str:
    return inspect.cleandoc(stage.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def _stage(stage: type[tt.Stage]) -> str:
    name = stage.__name__
    out = [f"(stage-{name})=", f"## {name}", "", markdown(stage.__doc__ or ""), ""]
    if stage.__init__ is not object.__init__:
        out += [signature(f"tt.{name}", stage), ""]
    rows = [f"| `{key}` | {prose(p.allowed)} | {p.default} | {_pair(p.split, p.sided)} |"
            for key, p in stage().parameters().items()]
    rows += [f"| `{key}` | state | starts at {s.init} | {_pair(s.split, False)} |"
             for key, s in stage().states().items()]
    if rows:
        out += ["| name | values | default | becomes a pair |", "|---|---|---|---|", *rows, ""]
    if f"stage_{name}" in pictures.drawings():
        out += [f"![a neuron with {name}: its answer to four inputs](pictures/stage_{name}.png)", ""]
    return "\n".join(out)


def _pair(split: bool, sided: bool) -> str:
    return "under `Dual`" if split else "under `Ternary`" if sided else "never"


def classes(key: str) -> list[str]:
    """Return the names of the ready-made classes of a family."""
    neurons = [n for n in tt.snn.__all__ if hasattr(getattr(tt.snn, n), "stages")]
    endings = {"binary": "LIB", "ternary": "LIT", "scaled": "LITS"}
    named = {k: [n for n in neurons if re.fullmatch(f"D?S?R?{e}", n)] for k, e in endings.items()}
    named["readout"] = [n for n in neurons if re.fullmatch("D?S?LI(EMA)?", n)]
    known = {n for names in named.values() for n in names}
    named["more"] = [n for n in neurons if n not in known]
    return named[key]


def family(key: str) -> str:
    """Return the page of one family of ready-made classes."""
    title, gist, base = FAMILIES[key]
    names = classes(key)
    rows = [f"| [`{n}`](neuron-{n}) | {_made_of(n)} | {_states(n)} |" for n in names]
    out = [f"# {title}", "", f"In this family: {gist}.", ""]
    if base:
        shown = [b for b in base.split() if b in names]
        out += [f"![response of {b}](pictures/response_{b}.png)" for b in shown]
        out += ["", f"How one neuron of {' and '.join(f'`{b}`' for b in shown)} answers a pulse, a step, a ramp and "
                "noise. Rows: input, membrane before reset, output.", ""]
    out += ["| class | made of | states |", "|---|---|---|", *rows, ""]
    return "\n".join(out) + "\n" + "\n".join(_neuron(n) for n in names)


def _made_of(name: str) -> str:
    kinds = [type(stage).__name__ for stage in getattr(tt.snn, name).stages if stage != tt.Reset()]
    return ", ".join(f"[{kind}](stage-{kind})" for kind in kinds)


def _states(name: str) -> str:
    return ", ".join(f"`{state}`" for state in getattr(tt.snn, name).pipeline.states)


def _neuron(name: str) -> str:
    cls = getattr(tt.snn, name)
    return "\n".join([f"(neuron-{name})=", f"## {name}", "", signature(f"tt.snn.{name}", cls), "",
                      markdown(cls.__doc__), ""])


def generated_code() -> str:
    """Return the loop over neurons that the C++ backend generates for a forward step of LIB."""
    text = tt.explain(tt.snn.LIB(1)).layers[0].source
    body = text[text.index("    LANES(w)"):text.index("};\n}  // namespace")]
    return textwrap.dedent(body.rstrip().removesuffix("}").rstrip()) + "\n"


def api() -> str:
    """Return the page of functions and base classes."""
    out = ["# Functions and classes", "",
           "What `import tracetorch as tt` brings, besides the [stages](stages.md), the neurons in `tt.snn` and "
           "`tt.functional`. This page is made from the docstrings.", ""]
    for title, names in API.items():
        out += [f"## {title}", ""]
        for name in names:
            thing: Any = tt
            for part in name.split("."):
                thing = getattr(thing, part, None)
            if thing is not None:
                out += _entry(name, thing)
    return "\n".join(out)


def plots() -> str:
    """Return the page of tracetorch.plot."""
    out = ["# Pictures", "", prose(inspect.cleandoc(plot.__doc__)), "",
           "```python", "from tracetorch import plot", "",
           "axes = plot.response(tt.snn.LIB, quant_fn=tt.functional.round_ste())", "```", ""]
    for name in plot.__all__:
        out += _entry(name, getattr(plot, name), "plot.", "##")
    return "\n".join(out)


def _entry(name: str, thing: Any, prefix: str = "tt.", level: str = "###") -> list[str]:
    full = prefix + name
    out = [f"(api-{full.removeprefix('tt.')})=", f"{level} {full}", "", signature(full, thing), "",
           markdown(thing.__doc__ or ""), ""]
    if isinstance(thing, type) and issubclass(thing, (tt.Layer, tt.Model)):
        for key, method in vars(thing).items():
            if inspect.isfunction(method) and method.__doc__ and (not key.startswith("_") or key in _PROTOCOL):
                out += [f"{level}# {key}", "", signature(key, method), "", markdown(method.__doc__), ""]
    return out


_PROTOCOL = ("_initialize_state", "_ensure_states", "_register_parameter", "_register_decay", "_register_threshold",
             "_register_bias", "_to_working_dim", "_from_working_dim")
