"""The frames of the grammar, one file a strategy, each exporting `FRAMES`.

Every frame is harmless by itself, asks for nothing and says nothing about what is asked: it only
sounds grave, angry or forbidden. No slurs, no self-harm, no praise of violence against anybody.
"""

from evo.operators.lexical.frames.anger import FRAMES as ANGER
from evo.operators.lexical.frames.controversial_topic import FRAMES as CONTROVERSIAL_TOPIC
from evo.operators.lexical.frames.despair import FRAMES as DESPAIR
from evo.operators.lexical.frames.disgust import FRAMES as DISGUST
from evo.operators.lexical.frames.imagined_scenario import FRAMES as IMAGINED_SCENARIO
from evo.operators.lexical.frames.implied_harm import FRAMES as IMPLIED_HARM
from evo.operators.lexical.frames.other_sensitive_words import FRAMES as OTHER_SENSITIVE_WORDS
from evo.operators.lexical.frames.prejudiced_words import FRAMES as PREJUDICED_WORDS
from evo.operators.lexical.frames.quotation import FRAMES as QUOTATION
from evo.operators.lexical.frames.violent_words import FRAMES as VIOLENT_WORDS
from evo.operators.lexical.grammar import FrameSet
from evo.types import Strategy

FRAME_SETS: dict[Strategy, FrameSet] = {
    Strategy.CONTROVERSIAL_TOPIC: CONTROVERSIAL_TOPIC,
    Strategy.IMAGINED_SCENARIO: IMAGINED_SCENARIO,
    Strategy.IMPLIED_HARM: IMPLIED_HARM,
    Strategy.VIOLENT_WORDS: VIOLENT_WORDS,
    Strategy.PREJUDICED_WORDS: PREJUDICED_WORDS,
    Strategy.OTHER_SENSITIVE_WORDS: OTHER_SENSITIVE_WORDS,
    Strategy.ANGER: ANGER,
    Strategy.DISGUST: DISGUST,
    Strategy.DESPAIR: DESPAIR,
    Strategy.RECOMBINATION: QUOTATION,
}
