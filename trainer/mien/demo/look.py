"""How the page looks."""

from __future__ import annotations

import gradio as gr

CSS = """
#head h1 { font-size: 1.5rem; margin: 0; }
#head p, #consent p, #status p, .caption p { margin: 0; }
.caption { opacity: 0.75; padding: 0 !important; }
#consent { border-left: 4px solid #c77700; background: rgba(199, 119, 0, 0.1); padding: 0.25rem 0.5rem; }
#status p { padding: 0.4rem 0.75rem; border-left: 4px solid #0d9488; overflow-wrap: anywhere; }
#status p.bad { border-color: #c81e1e; background: rgba(200, 30, 30, 0.1); }
#samples .grid-wrap { height: auto !important; min-height: 0 !important; max-height: none !important; }
#samples .grid-container { padding: 0 !important; }
#samples .grid-container { grid-template-columns: repeat(3, minmax(0, 1fr)) !important; }
#samples .thumbnail-item { min-width: 0 !important; width: 100% !important; }
.sliders .head { min-height: 2.8rem; gap: 0.5rem; }
.sliders { max-height: 46rem; overflow-y: auto; }
.sliders label { font-size: 0.85rem; }
.sliders input[type="number"] { width: 3.5rem; }
.sliders input[type="range"] { --range_progress: 0% !important; }
"""
"""What Gradio's theme leaves open."""


def theme() -> gr.Theme:
    """Fonts of the machine: a page that asks no other server for anything."""
    fonts = ["system-ui", "sans-serif"]
    return gr.themes.Base(primary_hue="teal", font=fonts, font_mono=["ui-monospace", "monospace"])
