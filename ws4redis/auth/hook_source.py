"""What the source of a site's hook tells: whether it may return None, and whether it takes anonymous users for None."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any


def may_return_none(function: Callable[..., Any]) -> bool:
    """Whether one of its ends is bare, or returns None.

    False where that is not known: there is no source, it is decorated, or it returns what another function returns.
    """
    while isinstance(function, partial):
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & _NO_PLAIN_RETURN:
        return False
    definition = _definition(code)
    if isinstance(definition, ast.Lambda):
        return _is_none(definition.body)
    if definition is None or definition.decorator_list:
        return False
    return not _ends(definition.body) or any(_is_none(each.value) for each in _returns(definition.body))


#: generators and coroutines: what a call returns is never None
_NO_PLAIN_RETURN = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def _definition(code: Any) -> ast.FunctionDef | ast.Lambda | None:
    kind = ast.Lambda if code.co_name == "<lambda>" else ast.FunctionDef
    found = [node for node in _nodes(code) if isinstance(node, kind)]
    # several lambdas in one line cannot be told apart
    return found[0] if len(found) == 1 or (found and kind is ast.FunctionDef) else None


def _ends(body: Sequence[ast.stmt]) -> bool:
    """Whether each way through the body ends with a return or an exception."""
    return any(map(_leaves, body))


def _leaves(statement: ast.stmt) -> bool:
    match statement:
        case ast.Return() | ast.Raise():
            return True
        case ast.If(body=body, orelse=orelse):
            return _ends(body) and _ends(orelse)
        case ast.With(body=body):
            return _ends(body)
        case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
            return _ends(finalbody) or ((_ends(body) or _ends(orelse)) and all(_ends(each.body) for each in handlers))
        case ast.Match(cases=cases):
            return _is_wildcard(cases[-1]) and all(_ends(each.body) for each in cases)
        case ast.While(test=ast.Constant(value=value), body=body):
            return bool(value) and not any(isinstance(node, ast.Break) for each in body for node in ast.walk(each))
    return False


def _is_wildcard(case: ast.match_case) -> bool:
    return case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


def _returns(body: Sequence[ast.AST]) -> Iterator[ast.Return]:
    """Its own, and not those of functions inside."""
    for node in body:
        if isinstance(node, ast.Return):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _returns([*ast.iter_child_nodes(node)])


def _is_none(value: ast.expr | None) -> bool:
    match value:
        case None | ast.Constant(value=None):
            return True
        case ast.IfExp(body=body, orelse=orelse):
            return _is_none(body) or _is_none(orelse)
    return False


#: what an anonymous user lacks -> how to ask for it
_NEVER_NONE = {"user": "request.user.is_authenticated", "session": "request.session.session_key"}

#: a function that looks at one of these knows anonymous users
_TELLING = {"is_authenticated", "is_anonymous", "is_active", "is_staff", "is_superuser", "pk", "id", "session_key"}


def asks_for_none(function: Any) -> dict[str, str]:
    """Which of ``user`` and ``session`` a function only tests for being there, and how to ask instead."""
    nodes = _nodes(function)
    if any(isinstance(each, ast.Attribute | ast.Name) and _name(each) in _TELLING for each in nodes):
        return {}
    tested = {_name(operand) for node in nodes for operand in _tested(node) if isinstance(operand, ast.Attribute)}
    return {name: better for name, better in _NEVER_NONE.items() if name in tested}


def _name(node: ast.AST) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))


def _tested(node: ast.AST) -> list[ast.expr]:
    """The operands that are compared with None, or tested for truth."""
    match node:
        case ast.Compare(left=left, comparators=[ast.Constant(value=None)]):
            return [left]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return [operand]
        case ast.If(test=test) | ast.IfExp(test=test):
            return [test]
        case ast.BoolOp(values=values):
            return values
    return []


def _nodes(function: Any) -> list[ast.AST]:
    """All of its source; none where there is no source."""
    try:
        return [*ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function))))]
    except (OSError, TypeError, SyntaxError, ValueError):
        return []
