"""Which tools write which metadata: name of the field and words in it → tool. Sources: docs/provenance.md."""

from __future__ import annotations

import re

ANY_SOFTWARE = "Software|CreatorTool|Credit|AISystemUsed|claim generator"
SETTINGS = "parameters|UserComment"
KNOWN = (  # the first that fits
    ("SwarmUI", SETTINGS, r'"sui_image_params"'),
    ("Fooocus", "fooocus_scheme|Software", r"(?i)^(fooocus|a1111$)"),
    ("Stable Diffusion web UI", SETTINGS, r"\bSteps: \d+, Sampler: "),
    ("ComfyUI", "prompt|workflow|Make|Model|ImageDescription|UserComment", r'"class_type"\s*:|"last_node_id"\s*:'),
    ("InvokeAI", "invokeai_metadata|invokeai_workflow|invokeai_graph|sd-metadata|Dream", ""),
    ("NovelAI", "Software", r"^NovelAI"),
    ("Draw Things", "CreatorTool", r"^Draw Things"),
    ("Midjourney", "Description|ImageDescription|description", r"Job ID: [0-9a-f]{8}-"),
    ("Midjourney", ANY_SOFTWARE, r"(?i)\bMidjourney\b"),
    ("OpenAI", ANY_SOFTWARE, r"(?i)\b(OpenAI|ChatGPT|GPT-4o|DALL[·.-]?E)\b"),
    ("Adobe Firefly", ANY_SOFTWARE, r"\bAdobe[_ ]Firefly\b"),
    ("Google AI", ANY_SOFTWARE, r"\b(Made|Edited) with Google AI\b"),
    ("Microsoft Image Creator", ANY_SOFTWARE, r"\bMicrosoft[_ ]Responsible[_ ]AI\b|\bImage Creator from "),
    ("Adobe Photoshop", ANY_SOFTWARE, r"\bAdobe[_ ]Photoshop\b"),
    ("Adobe Lightroom", ANY_SOFTWARE, r"\bLightroom\b"),
    ("GIMP", ANY_SOFTWARE, r"^GIMP\b"),
)
COMPILED = tuple((tool, re.compile(field), re.compile(words)) for tool, field, words in KNOWN)


def tool_of(name: str, text: str) -> str | None:
    """The tool that writes such an entry, if one is known. Anybody may write the same."""
    for tool, field, words in COMPILED:
        if field.fullmatch(name) and words.search(text):
            return tool
    return None
