"""C2PA manifests by c2pa-python: what they say, and whether they hold. Nothing is fetched from the network.

Source: C2PA technical specification 2.2, 15 (validation) and 18 (assertions); IPTC's digital source types.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

from morelli.storage.provenance_values import cleaned

MARK = b"c2pa"  # type and label of every manifest store, and never compressed
MIME = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "TIFF": "image/tiff"}
STATES = {"Trusted": "valid", "Valid": "untrusted"}  # all else is invalid
MOST = 32  # actions, and parents
AI = {"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "compositeSynthetic", "trainedAlgorithmicData"}
NOT_AI = {
    *("digitalCapture", "computationalCapture", "compositeCapture", "negativeFilm", "positiveFilm", "print"),
    *("screenCapture", "humanEdits", "minorHumanEdits", "digitalCreation", "digitalArt", "softwareImage"),
    *("algorithmicMedia", "algorithmicallyEnhanced"),
}


def manifest_of(data: bytes, kind: str, notes: list[str], trust: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The active manifest, as `provenance.provenance_of` says, and the names of tools in it. None where there is none.

    `actions` and `ai_generated` count those that it was made from (`parentOf`) as well.
    """
    if MARK not in data or kind not in MIME:
        return None, []
    try:
        import c2pa
    except Exception:  # a broken installation raises nearly anything
        notes.append("C2PA not looked for, though the file may hold a manifest: pip install 'morelli[c2pa]'")
        return None, []
    settings: dict[str, Any] = {"verify": {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False}}
    if trust:
        settings["trust"] = {"trust_anchors": trust}
    try:
        with (
            c2pa.Context(c2pa.Settings.from_dict(settings)) as context,
            c2pa.Reader(MIME[kind], io.BytesIO(data), context=context) as reader,
        ):
            state, store = reader.get_validation_state(), json.loads(reader.json())
        return _said(store, STATES.get(state or "", "invalid"))
    except c2pa.C2paError.ManifestNotFound:
        return None, []  # the four letters stood elsewhere
    except Exception as error:  # hostile bytes raise nearly every kind
        if str(error).startswith("Remote"):  # the manifest lies elsewhere
            return None, []
        notes.append(f"C2PA manifest cannot be read: {cleaned(str(error))[:120]}")
        return _facts("invalid"), []


def _said(store: dict[str, Any], state: str) -> tuple[dict[str, Any], list[str]]:
    chain = list(_chain(store))
    signature = chain[0].get("signature_info") or {}
    signer = ", ".join(cleaned(str(signature[key])) for key in ("common_name", "issuer") if signature.get(key))
    actions = [action for manifest in chain for action in _actions(manifest)]
    kinds = {str(action.get("digitalSourceType", "")).rpartition("/")[2] for action in actions}
    agents = [_name(action.get("softwareAgent")) for action in actions] + [_generator(each) for each in chain]
    facts = _facts(
        state,
        claim_generator=_generator(chain[0]),
        signer=signer or None,
        time=cleaned(str(signature["time"])) if signature.get("time") else None,
        actions=list(dict.fromkeys(cleaned(str(action.get("action", ""))) for action in actions))[:MOST],
        ai_generated=True if kinds & AI else False if kinds & NOT_AI else None,
    )
    return facts, agents


def _facts(state: str, **said: Any) -> dict[str, Any]:
    none: dict[str, Any] = {"claim_generator": "", "signer": None, "time": None, "actions": [], "ai_generated": None}
    return {"state": state} | none | said


def _chain(store: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The active manifest, and that of the file it was made from, and so on."""
    label, seen = store["active_manifest"], set[str]()
    while label in store["manifests"] and label not in seen and len(seen) < MOST:
        seen.add(label)
        manifest = store["manifests"][label]
        yield manifest
        parents = [each for each in manifest.get("ingredients", ()) if each.get("relationship") == "parentOf"]
        label = parents[0].get("active_manifest") if parents else None


def _actions(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    assertions = [each for each in manifest.get("assertions", ()) if str(each["label"]).startswith("c2pa.actions")]
    return [action for each in assertions for action in each["data"].get("actions", ()) if isinstance(action, dict)]


def _generator(manifest: dict[str, Any]) -> str:
    infos = manifest.get("claim_generator_info") or [manifest.get("claim_generator")]
    return _name(infos[0])


def _name(agent: Any) -> str:
    """Of software: a text, or a name and a version."""
    if isinstance(agent, dict):
        agent = " ".join(str(agent[key]) for key in ("name", "version") if agent.get(key))
    return cleaned(str(agent or ""))
