"""Whether a turn says nothing to keep: thanks, greetings, applause. Pure, and read off the text when it is stored.

A turn is noise when it has small talk of the kind that is listed here, and besides it nothing but stop words: no digit,
no name, no photo, no question. What is flagged is kept, searched and shown like any other; derivers do not read it, and
it ranks a little lower. The list is closed on purpose: a word that is not on it may be what somebody asks for.

Source: the filter before derivation of LightMem (Fang et al., 2025, section 3.1), by rule instead of by model; how
often it is right is in `bench/results/noise.json`.
"""

import re
from typing import Final

from memory.model import Memory
from retrieval.analysis import STOP_WORDS

CHARS_MAX: Final = 400
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_SOMETHING: Final = re.compile(r"\d|\[|[@#$€£%/\\<>=`]|https?:", re.IGNORECASE)
# A capital within a sentence begins a name.
_NAME: Final = re.compile(r"(?<=[a-z,;'’] )(?!I\b|I['’])[A-Z][\w'’]*")
_SMALL_TALK_WORDS: Final = """
    absolutely adorable again agree agreed ah alright also always amazing anything anytime appreciate appreciated
    aw awe awesome awful aww bad beautiful believe best bet better big bit blessed bravo brilliant buddy bye care
    catch certainly chat cheers come completely congrats congratulations cool course cute day deal definitely
    delightful doing done dude encouraged encouragement encouraging enjoy enjoyed enjoying especially even ever
    everyone everything exactly excellent excited exciting fabulous fantastic feel feels fine forever friend fun
    funny get glad go going good goodbye gorgeous got gotcha grateful great guess guys ha haha hahaha happy hard
    hear heard hearing hello help helped helpful helping hey hi hmm honestly hope hoping howdy huge idea imagine
    impressed impressive incredible indeed inspiring interesting job just keep keeping kind kindness know kudos
    later let lets like little lol look looked looking looks lot lots love loved lovely luck lucky make makes man
    matter maybe mean means meant mhm morning much nah neat need nice night no nope nothing oh ok okay perfect
    perhaps please pleased pleasure point pretty probably problem proud psyched pumped quite rather real really
    right rock rocked rocks sad see seeing seem seems seen shame share shared sharing so something soon sorry
    sound sounded sounds stay still stoked strong stuff super support supporting supportive sure surely sweet take
    taking talk tell terrific thank thankful thanks thing things think thinking thought thoughtful thrilled thx
    too totally touched tough truly try trying ty uh um understand very wait way welcome well went whoa wish
    wishing wonderful work worries worry worth wow yay yeah yep yes yup
"""
_SMALL_TALK: Final = frozenset(_SMALL_TALK_WORDS.split())


def is_noise_turn(memory: Memory) -> bool:
    """Whether a memory is a turn that says nothing to keep."""
    return memory.item.kind == "turn" and memory.deriver is None and is_noise(memory.item.text)


def is_noise(text: str) -> bool:
    """Whether a turn says nothing to keep."""
    if len(text) > CHARS_MAX or _SOMETHING.search(text) or _NAME.search(text) or "?" in text:
        return False
    words = [word.lower().replace("’", "'") for word in _WORD.findall(text)]
    talk = [word for word in words if word in _SMALL_TALK or word.partition("'")[0] in _SMALL_TALK]
    return bool(talk) and all(
        word in STOP_WORDS or word.partition("'")[0] in STOP_WORDS for word in set(words) - set(talk)
    )
