"""The methods of `Explorer` as type checkers and editors see them: python -m tests.typed."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from mbexplore.views.ablate import AblateView
from mbexplore.views.attention import AttentionView
from mbexplore.views.attribute import AttributeView
from mbexplore.views.compare import CompareView
from mbexplore.views.corpus import CorpusView
from mbexplore.views.corpus_search import CorpusSearchView
from mbexplore.views.cosine import CosineView
from mbexplore.views.embed import EmbedView
from mbexplore.views.heads import HeadsView
from mbexplore.views.info import InfoView
from mbexplore.views.lens import LensView
from mbexplore.views.likelihood import LikelihoodView
from mbexplore.views.mix import MixView
from mbexplore.views.model_view import ModelMapsView
from mbexplore.views.neurons import NeuronsView, TokenNeuronsView
from mbexplore.views.pairs import PairsView
from mbexplore.views.patch import PatchView
from mbexplore.views.predict import PredictView
from mbexplore.views.probe import ProbeView
from mbexplore.views.reach import ReachView
from mbexplore.views.residual import ResidualView
from mbexplore.views.result import Result
from mbexplore.views.rope import RopeView
from mbexplore.views.rope_score import RopeScoreView
from mbexplore.views.score import ScoreView
from mbexplore.views.steer import SteerView
from mbexplore.views.verify import VerifyView
from mbexplore.views.view import View
from mbexplore.views.why import WhyView

P = ParamSpec("P")
Data = TypeVar("Data")
Texts = str | list[str] | tuple[str, ...]

def of_text(view: Callable[P, View[Data]]) -> Callable[Concatenate[Any, str, P], Result[Data]]: ...
def of_texts(
    view: Callable[P, View[Data]],
) -> Callable[Concatenate[Any, Texts, P], Result[Data]]: ...
def of_model(view: Callable[P, View[Data]]) -> Callable[Concatenate[Any, P], Result[Data]]: ...

class ViewMethods:
    why = of_text(WhyView)
    predict = of_text(PredictView)
    score = of_text(ScoreView)
    likelihood = of_text(LikelihoodView)
    attention = of_text(AttentionView)
    model_view = of_text(ModelMapsView)
    attribute = of_text(AttributeView)
    mix = of_text(MixView)
    heads = of_texts(HeadsView)
    lens = of_text(LensView)
    residual = of_text(ResidualView)
    cosine = of_text(CosineView)
    probe = of_model(ProbeView)
    reach = of_text(ReachView)
    ablate = of_text(AblateView)
    patch = of_text(PatchView)
    steer = of_text(SteerView)
    corpus = of_model(CorpusView)
    corpus_search = of_model(CorpusSearchView)
    compare = of_text(CompareView)
    embed = of_texts(EmbedView)
    pairs = of_model(PairsView)
    neurons = of_text(NeuronsView)
    token_neurons = of_text(TokenNeuronsView)
    rope = of_model(RopeView)
    rope_score = of_text(RopeScoreView)
    verify = of_text(VerifyView)
    describe = of_model(InfoView)
