"""Irregular verbs of English, so that "did Ann buy" asks for what an episode tells as "bought".

Source: Quirk et al., A Comprehensive Grammar of the English Language, sections 3.11 to 3.20; the commoner ones.
"""

from typing import Final

from retrieval.analysis import terms

_FORMS: Final = """
    arise:arose:arisen beat:beat:beaten become:became begin:began:begun bend:bent bind:bound bite:bit:bitten
    blow:blew:blown break:broke:broken bring:brought build:built burn:burnt buy:bought catch:caught
    choose:chose:chosen come:came deal:dealt dig:dug draw:drew:drawn dream:dreamt drink:drank:drunk drive:drove:driven
    eat:ate:eaten fall:fell:fallen feed:fed feel:felt fight:fought find:found flee:fled fly:flew:flown
    forbid:forbade:forbidden forget:forgot:forgotten forgive:forgave:forgiven freeze:froze:frozen get:got:gotten
    give:gave:given go:went:gone grind:ground grow:grew:grown hang:hung hear:heard hide:hid:hidden hold:held keep:kept
    kneel:knelt know:knew:known lay:laid lead:led learn:learnt leave:left lend:lent light:lit lose:lost make:made
    meet:met pay:paid ride:rode:ridden ring:rang:rung rise:rose:risen run:ran say:said see:saw:seen seek:sought
    sell:sold send:sent sew:sewn shake:shook:shaken shine:shone shoot:shot show:shown sing:sang:sung sink:sank:sunk
    sit:sat sleep:slept slide:slid speak:spoke:spoken spend:spent spin:spun stand:stood steal:stole:stolen stick:stuck
    strike:struck swear:swore:sworn sweep:swept swim:swam:swum swing:swung take:took:taken teach:taught tear:tore:torn
    tell:told think:thought throw:threw:thrown understand:understood wake:woke:woken wear:wore:worn weave:wove:woven
    weep:wept win:won wind:wound write:wrote:written
"""


def _stems() -> dict[str, str]:
    found: dict[str, str] = {}
    for forms in _FORMS.split():
        base, *others = (terms(form)[0] for form in forms.split(":"))
        found |= {form: base for form in others if form != base}
    return found


_BASE: Final = _stems()


def base(term: str) -> str:
    """The term of a verb's base form; any other term as it is."""
    return _BASE.get(term, term)
