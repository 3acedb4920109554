"""The demo's page, in Gradio: a pad to draw on, the answers beside it.

Nothing is fetched from the internet: the fonts are the browser's own, and
Gradio's analytics are off.
"""

import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

# Gradio reads these when it is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

import gradio as gr
import numpy as np
from PIL import Image

from mnistpipe.errors import UserError
from mnistpipe.serving.drawing import Answer, Answerer

_PAD = 420  # pixels
_ZOOM = 280  # pixels of the picture that the network is shown
_FONTS = ("system-ui", "sans-serif")
# Gradio's pad waits for a choice of tool; the page chooses the brush.
_CHOOSE_BRUSH = """() => {
    const timer = setInterval(() => {
        const brush = document.querySelector("#pad button[aria-label=Brush]");
        if (brush) { clearInterval(timer); brush.click(); }
    }, 200);
}"""


def build(
    answerer: Answerer, names: Sequence[str], summaries: Sequence[str]
) -> gr.Blocks:
    """Builds the page.

    Args:
      answerer: computes the answers.
      names: of the networks, short: Gradio lays a long title over the answer.
      summaries: one line about each network.
    """
    heads = list(names)
    if len(heads) > 1:
        heads.append(f"all {len(names)} networks: mean of probabilities")
    with gr.Blocks(title="mnistpipe: draw a digit") as page:
        gr.Markdown("## Draw a digit, with mouse or finger")
        with gr.Row():
            pad = gr.Sketchpad(
                label="drawing",
                elem_id="pad",
                canvas_size=(_PAD, _PAD),
                fixed_canvas=True,
                layers=False,
                transforms=(),
                image_mode="RGBA",
                brush=gr.Brush(
                    default_size=24, colors=["#000000"], color_mode="fixed"
                ),
            )
            shown = gr.Image(
                label="what the network is shown",
                elem_id="shown",
                interactive=False,
                height=_ZOOM + 40,
            )
        with gr.Row():
            labels = [
                gr.Label(
                    label=head,
                    elem_id=f"answer{place}",
                    num_top_classes=len(answerer.class_names),
                )
                for place, head in enumerate(heads)
            ]
        steady = gr.Markdown(elem_id="steady")
        gr.Textbox(
            "\n".join(summaries),
            label="networks",
            elem_id="networks",
            lines=len(summaries),
            interactive=False,
        )
        with gr.Row():
            name = gr.Radio(
                list(answerer.class_names), label="This was a …", elem_id="name"
            )
            button = gr.Button("Save the drawing", elem_id="save")
        saved = gr.Markdown(elem_id="saved")
        pad.change(
            lambda value: _show(answerer, value, len(heads)),
            inputs=pad,
            outputs=[shown, *labels, steady],
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
        )
        page.load(None, js=_CHOOSE_BRUSH)
        button.click(
            lambda value, chosen: _save(answerer, value, chosen),
            inputs=[pad, name],
            outputs=saved,
            api_visibility="private",
        )
    return page


def serve(page: gr.Blocks, host: str, port: int) -> None:
    """Serves the page until Ctrl-C.

    Raises:
      UserError: the port is taken.
    """
    # Gradio asks its own server at the start, and httpx logs each request.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        _, url, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            theme=gr.themes.Default(font=_FONTS, font_mono=("monospace",)),
            max_file_size="8mb",
        )
    except OSError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"port: expected a free port on {host}, got {port}: {reason}"
        ) from None
    print(f"The page is at {url}; Ctrl-C ends the demo.", flush=True)
    try:
        page.block_thread()
    finally:
        page.close(verbose=False)


def _drawn(value: Mapping[str, Any] | None) -> np.ndarray | None:
    """The drawing of a Sketchpad, or None while nothing is drawn."""
    composite = None if value is None else value.get("composite")
    if composite is None:
        return None
    pixels = np.asarray(composite)
    # An untouched pad is transparent, or white, everywhere.
    return pixels if np.ptp(pixels) else None


def _show(
    answerer: Answerer, value: Mapping[str, Any] | None, outputs: int
) -> list[Any]:
    """What the page shows of a drawing, in the order of its outputs."""
    drawing = _drawn(value)
    nothing: list[Any] = [None] * (1 + outputs)
    if drawing is None:
        return [*nothing, ""]
    try:
        answer = answerer.answer(drawing)
    except UserError as error:
        return [*nothing, str(error)]
    rows = list(answer.probabilities)
    if len(rows) > 1:
        rows.append(answer.probabilities.mean(axis=0))
    names = answerer.class_names
    return [
        _enlarged(answer.shown),
        *(dict(zip(names, map(float, row), strict=True)) for row in rows),
        _steadiness(answer, answerer.versions),
    ]


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    """Shows each pixel as a square."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    factor = max(1, _ZOOM // max(image.size))
    size = (image.width * factor, image.height * factor)
    return np.asarray(image.resize(size, Image.Resampling.NEAREST))


def _steadiness(answer: Answer, versions: int) -> str:
    shares = [
        "augments nothing" if share is None else f"{share:.0%}"
        for share in answer.steady
    ]
    return f"Same answer in {versions} augmented versions: {', '.join(shares)}"


def _save(
    answerer: Answerer, value: Mapping[str, Any] | None, name: str | None
) -> str:
    drawing = _drawn(value)
    if drawing is None or not name:
        return "Draw something and choose what it is."
    try:
        path = answerer.save(drawing, name)
    except UserError as error:
        return str(error)
    count = sum(1 for _ in pathlib.Path(answerer.save_to).glob("*/*.png"))
    return f"Saved {path.parent.name}/{path.name}; drawings so far: {count}."
