"""Jinja2 templates: a page without any external resource, all text escaped."""

import functools
from typing import Any


@functools.cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("mnistpipe.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **context: Any) -> str:
    """Renders a template of `templates/`; a missing variable is an error."""
    return _environment().get_template(template).render(**context)
