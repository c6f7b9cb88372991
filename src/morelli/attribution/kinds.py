"""What exists: extractors, detectors, and the methods that combine them, written out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from morelli.detectors.conditional import Conditional, ConditionalRecipe
from morelli.detectors.deep_sad import DeepSad, DeepSadRecipe
from morelli.detectors.distance import Distance, DistanceRecipe
from morelli.detectors.folds import Folds
from morelli.detectors.lda import Lda, LdaRecipe
from morelli.detectors.mahalanobis import Mahalanobis, MahalanobisRecipe
from morelli.detectors.protocol import Detector, DetectorRecipe
from morelli.detectors.ridge import Ridge, RidgeRecipe
from morelli.detectors.stacked import Stacked, StackedRecipe
from morelli.detectors.template import Template, TemplateRecipe
from morelli.errors import UnsuitableProgram
from morelli.features.baselines import LogDct, RawValues
from morelli.features.double_reconstruction import PARTS, DoubleReconstruction
from morelli.features.full_inversion import FullInversion
from morelli.features.imprint import Imprint
from morelli.features.imprint_audio import SoundImprint, usual_hop
from morelli.features.inversion import Inversion, attribution_solver
from morelli.features.latent_descent import LatentDescent
from morelli.features.latent_search import LatentSearch
from morelli.features.observation import EightBit, Jpeg, Point, Weighted
from morelli.features.prior import Gaussian, Sparse
from morelli.features.protocol import Extractor, SampleSpec
from morelli.features.residual import NoiseResidual
from morelli.features.windows import Window, can_be_cut
from morelli.numerics.head import Head
from morelli.numerics.linear import Dense
from morelli.numerics.program import Program
from morelli.numerics.solvers.fista import Fista
from morelli.numerics.solvers.interior_point import InteriorPoint
from morelli.numerics.solvers.least_squares import LeastSquares
from morelli.numerics.solvers.pdhg import Pdhg
from morelli.numerics.state import State
from morelli.numerics.sums import LinearSum

LARGE = 512  # pixels of a side from which images are inverted in windows
GAP = 0.05  # relative duality gap of the inversions below that are certified

EXTRACTORS: dict[str, Callable[[State], Extractor]] = {
    "inversion": Inversion.from_state,
    "raw": RawValues.from_state,
    "log_dct": LogDct.from_state,
    "residual": NoiseResidual.from_state,
    "full_inversion": FullInversion.from_state,
    "latent_search": LatentSearch.from_state,
    "latent_descent": LatentDescent.from_state,
    "imprint": Imprint.from_state,
    "double_reconstruction": DoubleReconstruction.from_state,
    "sound_imprint": SoundImprint.from_state,
}
DETECTORS: dict[str, Callable[[State], Detector]] = {
    "deep_sad": DeepSad.from_state,
    "lda": Lda.from_state,
    "mahalanobis": Mahalanobis.from_state,
    "template": Template.from_state,
    "ridge": Ridge.from_state,
    "stacked": Stacked.from_state,
    "distance": Distance.from_state,
    "conditional": Conditional.from_state,
    "folds": lambda state: Folds.from_state(state, detector_from_state),
}
RECIPES: dict[str, Callable[[], DetectorRecipe]] = {
    "deep_sad": DeepSadRecipe,
    "lda": LdaRecipe,
    "mahalanobis": MahalanobisRecipe,
    "template": TemplateRecipe,
    "ridge": RidgeRecipe,
    "distance": DistanceRecipe,
}


@dataclass(frozen=True)
class Method:
    """An extractor for a head, and the detector recipe the paper pairs it with."""

    extractor: Callable[[Head], Extractor]
    recipe: Callable[[SampleSpec], DetectorRecipe]


def _inversion(head: Head) -> Extractor:
    """The paper max-pools by 2 where activations are as fine as the image (LSGAN), and nowhere else."""
    same_grid = len(head.map.in_shape) == 3 and head.map.in_shape[1:] == head.map.out_shape[1:]
    large = len(head.map.out_shape) == 3 and max(head.map.out_shape[1:]) >= LARGE and can_be_cut(head.map)
    solver = InteriorPoint() if _few_outputs(head) else attribution_solver()
    return Inversion(head, pool=2 if same_grid else 1, solver=solver, window=Window() if large else None)


def _few_outputs(head: Head) -> bool:
    """Where the exact solver is also the fastest: a table's head."""
    return isinstance(head.map, Dense) and head.map.weight.shape[0] <= 64


def certified(inversion: Inversion, gap: float) -> Inversion:
    """The same inversion, of every sample to this relative duality gap."""
    if isinstance(inversion.observation, Jpeg):
        return replace(inversion, solver=Fista(tolerance=gap))
    exact = _few_outputs(inversion.head) and inversion.prior == Sparse() and inversion.observation == Point()
    return replace(inversion, solver=InteriorPoint(min(gap, 1e-6)) if exact else Pdhg(tolerance=gap))


INVERSIONS: dict[str, Callable[[Inversion], Inversion]] = {
    "steps": lambda inversion: inversion,
    "lasso": lambda inversion: certified(inversion, GAP),
    "closed-form": lambda inversion: replace(inversion, solver=LeastSquares()),
    "ridge": lambda inversion: replace(inversion, solver=LeastSquares(1e-2)),
    "gaussian": lambda inversion: replace(inversion, solver=LeastSquares(1e-2), prior=Gaussian()),
    "non-negative": lambda inversion: certified(replace(inversion, prior=Sparse(nonnegative=True)), GAP),
    "per-channel": lambda inversion: certified(replace(inversion, prior=Sparse(per_channel=True)), GAP),
    "cell": lambda inversion: certified(replace(inversion, observation=EightBit()), GAP),
    "weighted": lambda inversion: certified(replace(inversion, observation=Weighted()), GAP),
    "jpeg-cell": lambda inversion: replace(inversion, solver=attribution_solver(), observation=Jpeg()),
}


def _raw(head: Head) -> Extractor:
    spec = Inversion(head).spec
    return RawValues(spec, stride=max(1, spec.shape[-1] // 32) if spec.is_image and spec.shape[-1] < 128 else 1)


def _log_dct(head: Head) -> Extractor:
    spec = Inversion(head).spec
    if not spec.is_image:
        return LogDct(spec, crop=min(512, spec.shape[-1]))  # which refuses tables
    return LogDct(spec, crop=min(128 if min(spec.shape[1:]) >= 128 else 32, *spec.shape[1:]))


def _full_inversion(head: Head) -> Extractor:
    return FullInversion(_whole(head), Inversion(head).spec)


def _latent(head: Head) -> Extractor:
    """From many starts through a generator's latents, or down from the encoder's through a latent decoder's."""
    spec = Inversion(head).spec
    if head.generator is None and head.autoencoder is not None:
        return LatentDescent(head.autoencoder, spec)
    return LatentSearch(_whole(head), spec)


def _whole(head: Head) -> Program:
    if head.generator is None:
        raise UnsuitableProgram(
            "this method searches the latents of the whole generator, and the head holds only its last layer. Make the "
            "head again with `morelli head … --whole`."
        )
    return head.generator


def _double_reconstruction(head: Head, bands: bool = False) -> Extractor:
    if head.autoencoder is None:
        raise UnsuitableProgram(
            "this method encodes and decodes samples, and the head holds no autoencoder. Make the head again with "
            "`morelli head --diffusers … --whole`."
        )
    return DoubleReconstruction(head.autoencoder, Inversion(head).spec, bands)


def _deep_sad(spec: SampleSpec, standardise: str, channels: int | None = None) -> DetectorRecipe:
    """Epochs and rates of the paper: small GANs 50; wide images and tables 100 with two drops."""
    if not spec.is_image:
        return DeepSadRecipe(epochs=100, drops=(25, 50), standardise=standardise, channels=channels)
    if min(spec.shape[1:]) >= 128 and spec.shape[0] > 1:
        return DeepSadRecipe(epochs=100, drops=(25, 50), batch=32, standardise=standardise)
    return DeepSadRecipe(standardise=standardise)


def _imprint(head: Head) -> Extractor:
    """Patches lie on the last layer's own grid, or where that does not enlarge on that of an enlargement by two.

    Of a sum, on the grid of the part that enlarges most.
    """
    spec = Inversion(head).spec
    if spec.is_audio:
        return SoundImprint(spec, usual_hop(spec.shape[1]))
    parts = head.map.parts if isinstance(head.map, LinearSum) else (head.map,)
    before, after = [part.in_shape for part in parts], head.map.out_shape
    stride = max(after[-1] // shape[-1] if len(shape) == len(after) else 1 for shape in before)
    return Imprint(spec, min(4, stride) if stride > 1 else 2)


def _stacked(spec: SampleSpec) -> StackedRecipe:
    imprint = SoundImprint(spec, usual_hop(spec.shape[1])) if spec.is_audio else Imprint(spec)
    return StackedRecipe(imprint.blocks)


METHODS = {
    "imprint": Method(_imprint, _stacked),
    "flipad": Method(_inversion, lambda spec: _deep_sad(spec, "own", channels=100)),
    "rawpad": Method(_raw, lambda spec: _deep_sad(spec, "none")),
    "dctpad": Method(_log_dct, lambda spec: _deep_sad(spec, "both")),
    "sm-f": Method(lambda head: NoiseResidual(Inversion(head).spec), lambda spec: TemplateRecipe()),
    "sm-inv": Method(_full_inversion, lambda spec: DistanceRecipe()),
    "sm-inv-perceptual": Method(_full_inversion, lambda spec: DistanceRecipe()),
    "latent": Method(_latent, lambda spec: DistanceRecipe()),
    "aedr": Method(_double_reconstruction, lambda spec: DistanceRecipe()),
    "reconstruction": Method(
        lambda head: _double_reconstruction(head, bands=True), lambda spec: ConditionalRecipe(PARTS)
    ),
}


def extractor_from_state(state: State) -> Extractor:
    return EXTRACTORS[state.settings["type"]](state)


def detector_from_state(state: State) -> Detector:
    return DETECTORS[state.settings["type"]](state)
