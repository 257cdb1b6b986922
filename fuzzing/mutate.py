"""Mutation testing of hubws/protocol: break one thing at a time, and see whether its tests notice.

    python fuzzing/mutate.py [MODULE...] [--sample N] [--jobs N] [--output FILE] [--again FILE]

The mutations are Cosmic Ray's (PyPI `cosmic-ray`), chosen so that one place has few mutants, and
two more that it lacks: a statement left out, and None returned. What can't show is left out:
annotations, what does not compile, and what is the same program. The tree is copied to a temporary
folder, so that nothing here is ever broken.

The tests of the module come first, then all of tests/protocol, which must pass before anything is
broken. They run in processes forked from one that has imported what the tests need, which takes a
third of the time of new ones.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import parso
import pytest
from cosmic_ray.ast import ast_nodes
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider
from parso.python.tree import Keyword

ROOT = Path(__file__).parents[1]
MODULES = sorted(path.stem for path in (ROOT / "hubws/protocol").glob("*.py"))
CPU_TIME = 30  # seconds, twice what the tests take; an endless loop is a mutant killed
MEMORY = 1 << 30  # bytes, and so is one that fills the memory
ZLIB = ["-k", "not test_growth_is_bounded and not test_never_looks_back"]
"""Leaves out two tests that take two thirds of the time, and that only deflate.py can fail."""
FORKS = multiprocessing.get_context("forkserver")
PRELOAD = ["pytest", "hypothesis", "hypothesis.strategies", "trio.testing", "attrs", "httptools"]

OPERATORS = re.compile(
    r"AddNot|NumberReplacer|ExceptionReplacer|RemoveDecorator|ZeroIterationForLoop|"
    r"Replace(TrueWithFalse|FalseWithTrue|AndWithOr|OrWithAnd|BreakWithContinue|ContinueWithBreak)|"
    r"ReplaceUnaryOperator_.*|"
    r"ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Add|FloorDiv_Mul|Mod_Add|LShift_RShift|RShift_LShift|"
    r"BitOr_BitAnd|BitAnd_BitOr|BitXor_BitAnd)|"
    r"ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|"
    r"GtE_Lt|Is_IsNot|IsNot_Is)"
)


class _StatementOperator(Operator):  # type: ignore[misc]  # it comes without types
    """What the two operators for whole statements have in common."""

    types: tuple[str, ...]
    keyword: str

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if (
            node.type in self.types
            and node.parent.type == "simple_stmt"
            and parso.python.tree.search_ancestor(node, "funcdef") is not None
        ):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return Keyword(self.keyword, node.start_pos, node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class RemoveStatement(_StatementOperator):
    """Leave out an assignment, a call or a raise."""

    types, keyword = ("expr_stmt", "atom_expr", "raise_stmt", "del_stmt"), "pass"


class ReturnNone(_StatementOperator):
    """Return None in place of a value."""

    types, keyword = ("return_stmt",), "return None"


def operators() -> dict[str, type[Operator]]:
    """All mutations, by name."""
    provider = OperatorProvider()
    chosen = {name: provider[name] for name in provider if OPERATORS.fullmatch(name)}
    return {**chosen, "RemoveStatement": RemoveStatement, "ReturnNone": ReturnNone}


OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.Lt: ast.GtE,
    ast.Gt: ast.LtE,
    ast.Is: ast.IsNot,
    ast.In: ast.NotIn,
}
OPPOSITES |= {opposite: operator for operator, opposite in OPPOSITES.items()}


class _Bare(ast.NodeTransformer):
    """Takes out what only says something to people and type checkers, and writes negations as one."""

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        inner = node.operand
        if isinstance(node.op, ast.Not):
            if isinstance(inner, ast.Compare) and len(inner.ops) == 1:
                inner.ops = [OPPOSITES[type(inner.ops[0])]()]
                return inner
            if isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.Not):
                return inner.operand
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias":
            return None
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        type_checking = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if type_checking else self.generic_visit(node)


def meaning(source: str) -> str:
    """A program without what makes no difference; SyntaxError when it is none."""
    compile(source, "mutant", "exec", dont_inherit=True)
    return ast.dump(_Bare().visit(ast.parse(source)))


def mutants(folder: Path, module: str) -> Iterator[tuple[str, str, str]]:
    """Operator, source and diff of every mutant of a module that is a program of its own."""
    original = (folder / f"hubws/protocol/{module}.py").read_text()
    seen = {meaning(original)}
    for name, kind in operators().items():
        operator = kind()
        nodes = ast_nodes(parso.parse(original))
        for number in range(sum(len(list(operator.mutation_positions(node))) for node in nodes)):
            source = MutationVisitor.mutate_code(original, operator, number)
            try:
                means = meaning(source)
            except SyntaxError:
                continue
            if means not in seen:
                seen.add(means)
                lines = difflib.unified_diff(original.splitlines(), source.splitlines(), n=1)
                yield name, source, "\n".join(list(lines)[2:])


def copy_tree(folder: Path) -> None:
    """What tests/protocol needs, in a folder of its own."""
    for name in ("hubws", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    conftest = folder / "tests/conftest.py"  # a quarter of hypothesis' examples takes half the time
    conftest.write_text(conftest.read_text().replace("max_examples=100", "max_examples=25"))


class Killers:
    """The tests that failed last, the latest first: they may well kill the next mutant, too."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "killers"

    def names(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a test, as a plugin of pytest."""
        if report.failed:
            names = dict.fromkeys([report.nodeid, *self.names()])
            self._path.write_text("\n".join([*names][:20]))


def run_pytest(folder: Path, arguments: list[str], *, is_first: bool) -> None:
    """Run tests in a copy of the tree, in a process of their own; exit as pytest does."""
    os.chdir(folder)
    sys.dont_write_bytecode = not is_first
    os.nice(3)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_TIME, CPU_TIME))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.path.insert(0, str(folder))  # its hubws comes before an installed one
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    # that modules are there already is the point
    options = [
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]
    sys.exit(pytest.main([*options, *arguments], plugins=[Killers(folder)]))


def judge(folder: Path, module: str, *, is_first: bool = False) -> str:
    """Run the tests: the latest killers, those of the module, then all of the protocol.

    Returns "survived" when they pass, "timeout" when they take too long, "killed" when one fails.
    """
    killers = Killers(folder).names()
    own = f"tests/protocol/test_{module.strip('_')}.py"
    everything = ["tests/protocol", *(() if module == "deflate" else ZLIB)]
    for arguments in (killers, [own], everything):
        if not arguments or (arguments == [own] and not (folder / own).exists()):
            continue
        process = FORKS.Process(
            target=run_pytest, args=(folder, arguments), kwargs={"is_first": is_first}
        )
        process.start()
        process.join()
        if process.exitcode == -signal.SIGXCPU:
            return "timeout"
        if arguments is killers and process.exitcode == pytest.ExitCode.USAGE_ERROR:
            continue  # a test that this mutant does not have
        if process.exitcode:
            return "killed"
    return "survived"


def main() -> None:
    """Break, test, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", default=[], help=", ".join(MODULES))
    parser.add_argument(
        "--sample", type=int, metavar="N", help="at most N of each module, at random"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--output", type=Path, default=Path("mutants.jsonl"), help="one result a line"
    )
    parser.add_argument(
        "--again", type=Path, help="only those that survived by that earlier output"
    )
    options = parser.parse_args()
    FORKS.set_forkserver_preload(PRELOAD)
    again = options.again and {
        record["diff"]
        for record in map(json.loads, options.again.read_text().splitlines())
        if record["outcome"] == "survived"
    }
    folders: SimpleQueue[Path] = SimpleQueue()
    records: list[dict[str, str]] = []
    lock = threading.Lock()

    work: list[tuple[str, str, str, str]] = []

    def attempt(module: str, operator: str, source: str, diff: str) -> None:
        folder = folders.get()
        path = folder / f"hubws/protocol/{module}.py"
        original = path.read_text()
        path.write_text(source)
        outcome = judge(folder, module)
        path.write_text(original)
        folders.put(folder)
        record = {"module": module, "operator": operator, "outcome": outcome, "diff": diff}
        with lock:
            records.append(record)
            log.write(json.dumps(record) + "\n")
            log.flush()
            print(f"{len(records)}/{len(work)} {outcome:9} {module} {operator}", flush=True)

    with (
        tempfile.TemporaryDirectory() as temporary,
        options.output.open("w") as log,
        ThreadPoolExecutor(options.jobs) as pool,
    ):
        for number in range(options.jobs):
            folder = Path(temporary, str(number))
            copy_tree(folder)
            if judge(folder, "protocol", is_first=True) != "survived":
                sys.exit("tests/protocol fails before anything is broken")
            # of hubws nothing may be left: two sources of one second and one size look the same
            for cache in folder.glob("hubws/**/__pycache__"):
                shutil.rmtree(cache)
            folders.put(folder)
        for module in options.modules or MODULES:
            found = [
                (module, *mutant)
                for mutant in mutants(folder, module)
                if not again or mutant[2] in again
            ]
            if options.sample and len(found) > options.sample:
                print(f"{module}: {options.sample} of {len(found)} mutants, seed {options.seed}")
                found = random.Random(options.seed).sample(found, options.sample)
            work += found
        for future in [pool.submit(attempt, *item) for item in work]:
            future.result()

    for record in records:
        if record["outcome"] == "survived":
            print(f"\n{record['module']} ({record['operator']})\n{record['diff']}")
    for module in sorted({record["module"] for record in records}):
        mine = [record["outcome"] for record in records if record["module"] == module]
        killed = sum(outcome != "survived" for outcome in mine)
        timeouts = mine.count("timeout")
        print(
            f"{module:10} {killed}/{len(mine)} killed, {killed / len(mine):.1%}, "
            f"of these {timeouts} by taking too long"
        )


if __name__ == "__main__":
    main()
