"""What some analyses can't show, a text each: the analysis and its view both say it."""

ABLATE = (
    "Other parts may make up for an ablated one, so a small effect is no proof that the part is "
    "idle; and zero may be a value that the model never saw."
)
ATTRIBUTE = (
    "The shares depend on the baseline, and the path there passes inputs that are no text; how "
    "tokens that act only together share their effect is not unique."
)
COMPARE = (
    "A distance between residual streams shows that two runs differ, not whether the answer uses "
    "it; and two models trained apart have no common axes, so their residual streams differ even "
    "where they agree."
)
CONTEXT_MIXING = (
    "None of the four shows what is carried, only how much. Rollout takes the residual stream "
    "for half of every layer and all heads for alike. Only value zeroing counts the MLP."
)
LENS = (
    "The head was trained on the last layer alone: a token missing from an early row may still "
    "be there in a form that the head can't read."
)
NEURONS = (
    "What a neuron promotes is the change of the logits when its part is taken out of the last "
    "layer's state: what later layers make of it, here and at other tokens, is not in it."
)
PATCH = (
    "Each place is patched alone: what two places carry only together, or twice, is not seen; "
    "and it is the difference between these two texts that is located, not all that the answer "
    "needs."
)
REACH = (
    "It is what the windows allow: whether a head uses what it can see is for attention and "
    "ablation to say."
)
SIMILARITY = (
    "CKA leans towards 1 where the text has fewer tokens than the model has dimensions, and a "
    "few very long tokens or dimensions can decide it, and the cosine, alone."
)
WHY = (
    "It is the difference between this text and one other that is explained; another change of "
    "the text may take another way, and what MLPs do along the way is not named."
)
