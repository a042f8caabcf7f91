"""Shows a page its own code: what runs, read from where it runs."""

import inspect
import re
from pathlib import Path

from django import template
from django.contrib.staticfiles import finders
from django.template.context import RequestContext
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

# Python and JavaScript in one: near enough for what is shown here
TOKEN = re.compile(
    r'(?P<comment>#.*|//.*|/\*[\s\S]*?\*/|"""[\s\S]*?""")'
    r"""|(?P<string>\bf?"[^"\n]*"|f?'[^'\n]*'|`[^`]*`|"[^"\n]*")"""
    r"|(?P<decorator>@\w+)"
    r"|\b(?P<keyword>def|return|if|else|for|in|not|and|or|const|new|async|await|throw|function)\b"
)


@register.simple_tag(takes_context=True)
def view_source(context: RequestContext) -> SafeString:
    """The view of this page."""
    return highlighted(inspect.getsource(context["request"].resolver_match.func))


@register.simple_tag(takes_context=True)
def page_script(context: RequestContext) -> str:
    """The script of this page, which has the name of its URL."""
    return f"chatserver/{context['request'].resolver_match.url_name}.js"


@register.simple_tag
def static_source(name: str) -> SafeString:
    """A static file, e.g. ``chatserver/user_chat.js``."""
    return highlighted(Path(finders.find(name)).read_text("utf-8"))


def highlighted(code: str) -> SafeString:
    """Code as HTML, its words marked by class."""
    parts, end = [], 0
    for found in TOKEN.finditer(code):
        parts += [
            format_html("{}", code[end : found.start()]),
            format_html('<span class="{}">{}</span>', found.lastgroup, found[0]),
        ]
        end = found.end()
    return mark_safe("".join([*parts, format_html("{}", code[end:])]))  # each part is escaped
