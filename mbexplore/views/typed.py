"""The methods of `Explorer` as type checkers and editors see them. Loaded by those alone."""

from __future__ import annotations

from mbexplore.views.ablate import AblateView
from mbexplore.views.attention import AttentionView
from mbexplore.views.attribute import AttributeView
from mbexplore.views.compare import CompareView
from mbexplore.views.cosine import CosineView
from mbexplore.views.embed import EmbedView
from mbexplore.views.heads import HeadsView
from mbexplore.views.info import InfoView
from mbexplore.views.lens import LensView
from mbexplore.views.likelihood import LikelihoodView
from mbexplore.views.methods import of_model, of_text, of_texts
from mbexplore.views.mix import MixView
from mbexplore.views.model_view import ModelMapsView
from mbexplore.views.neurons import NeuronsView, TokenNeuronsView
from mbexplore.views.pairs import PairsView
from mbexplore.views.patch import PatchView
from mbexplore.views.predict import PredictView
from mbexplore.views.residual import ResidualView
from mbexplore.views.rope import RopeView
from mbexplore.views.rope_score import RopeScoreView
from mbexplore.views.score import ScoreView
from mbexplore.views.verify import VerifyView


class ViewMethods:
    """A method for every view that comes along."""

    ablate = of_text(AblateView)
    attention = of_text(AttentionView)
    attribute = of_text(AttributeView)
    cosine = of_text(CosineView)
    lens = of_text(LensView)
    likelihood = of_text(LikelihoodView)
    score = of_text(ScoreView)
    model_view = of_text(ModelMapsView)
    rope = of_model(RopeView)
    rope_score = of_text(RopeScoreView)
    heads = of_texts(HeadsView)
    residual = of_text(ResidualView)
    neurons = of_text(NeuronsView)
    token_neurons = of_text(TokenNeuronsView)
    mix = of_text(MixView)
    patch = of_text(PatchView)
    pairs = of_model(PairsView)
    embed = of_texts(EmbedView)
    verify = of_text(VerifyView)
    describe = of_model(InfoView)
    predict = of_text(PredictView)
    compare = of_text(CompareView)
