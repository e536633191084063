"""How the page looks."""

from __future__ import annotations

import gradio as gr

CSS = """
#head h1 { font-size: 1.5rem; margin: 0; }
#head p { margin: 0; }
.faint { opacity: 0.7; }
#consent { border-left: 4px solid #c77700; background: rgba(199, 119, 0, 0.1); padding: 0.5rem 0.75rem; }
#consent p { margin: 0; }
#status p { margin: 0; padding: 0.4rem 0.6rem; border-left: 4px solid #0d9488; overflow-wrap: anywhere; }
#status p.bad { border-color: #c81e1e; background: rgba(200, 30, 30, 0.1); }
"""
"""What Gradio's theme leaves open."""


def theme() -> gr.Theme:
    """Fonts of the machine: a page that asks no other server for anything."""
    fonts = ["system-ui", "sans-serif"]
    return gr.themes.Base(primary_hue="teal", font=fonts, font_mono=["ui-monospace", "monospace"])
