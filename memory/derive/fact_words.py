"""Words of the fact grammar: which verbs tell something lasting or something that happened, and their forms.

A verb that is missing here gives no fact, and that is the safe side. What is left out on purpose: verbs of thinking,
feeling, saying and asking, whose objects are not facts about the speaker, and light verbs, which say little.
"""

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


HABITS: Final = _words(
    "live work love like enjoy adore prefer hate dislike own have play study teach speak run drive collect volunteer "
    "use practice practise attend eat cook drink write watch go take belong follow support manage grow raise train "
    "commute travel sing dance paint draw bake knit swim hike bike climb ski surf camp exercise meditate suffer "
    "specialize specialise major rent pay earn save coach lead design sell host wear sleep wake visit smoke avoid "
    "fish ride walk garden code photograph blog stream tutor mentor babysit keep"
)
"""Verbs whose plain present tells a habit, a state or a taste."""

IRREGULAR: Final = dict(
    pair.split(":")
    for pair in _words(
        "went:gone took:taken saw:seen met:met bought:bought got:gotten began:begun left:left won:won lost:lost "
        "ran:run wrote:written read:read built:built sent:sent spent:spent drove:driven flew:flown ate:eaten "
        "drank:drunk broke:broken fell:fallen became:become grew:grown held:held led:led taught:taught "
        "caught:caught brought:brought sold:sold sang:sung swam:swum wore:worn quit:quit chose:chosen made:made "
        "gave:given found:found did:done set:set hit:hit cut:cut rode:ridden drew:drawn shot:shot paid:paid "
        "hurt:hurt hired:hired put:put ordered:ordered kept:kept lent:lent beat:beaten woke:woken stood:stood "
        "slept:slept fed:fed dug:dug bit:bitten hung:hung "
    )
)
"""Past forms that are not regular, with their participles."""
PAST_OF: Final = {participle: past for past, participle in IRREGULAR.items()} | {"been": "was", "got": "got"}

NO_EVENT: Final = _words(
    "thought wanted needed tried asked mentioned said noticed realized realised heard felt wondered hoped guessed "
    "figured forgot meant used loved liked knew told seemed looked appreciated enjoyed believed understood remembered "
    "agreed feared worried hated preferred expected imagined supposed assumed saw struggled wished cared missed "
    "talked considered discussed doubted found had did kept made gave got put set tended managed need seed indeed "
    "feed speed happened decided ended interested excited concerned confused stressed inspired amazed honored blessed "
    "thrilled tired bored scared surprised relieved impressed overwhelmed determined committed hit cut relied based "
    "planned stayed stuck kind fascinated began turned came"
)
"""Past verbs and participles that tell no event by themselves."""

PASSIVES: Final = _words(
    "born diagnosed promoted hired fired laid raised accepted invited selected elected awarded given offered assigned "
    "admitted transferred nominated chosen appointed licensed certified trained injured hospitalized hospitalised "
    "robbed approved rejected granted adopted drafted recruited signed"
)
"""Participles of what happens to somebody, not of how somebody feels."""

LIGHT_NOUNS: Final = (
    "things?|stuff|chance|time|lot|lots|bit|way|moments?|shot|look|break|steps?|part|amount|idea|point|care|notes?|sure"
    "|action|advantage|place|opportunity|feeling|sense|kind|sort|couple|work|vibes?|best|mind|day|word|advice|hang|feel"
    "|support|mess|decision|list|right|moves?|few|number|projects?|pics?|photos?|pictures?|bunch|question|problem|issue|suggestions?|ideas?|tips?|strategies|structure"
)
"""Nouns that tell nothing by themselves."""

COMPLETIONS: Final = _words("completed finished achieved reached passed earned saved submitted read")
"""Verbs that tell an end: what is told "by" a time had happened by then."""

EVENTS_WITH_ARTICLE: Final = _words("got made found gave did had set saw")
"""Light verbs, events only with a thing as their object ("got a new job")."""

DOING: Final = _words(
    "working learning studying training living volunteering teaching writing reading building developing running "
    "renting saving taking practicing practising attending playing using eating growing raising recovering dating "
    "seeing applying researching preparing organizing organising hosting renovating coaching mentoring collaborating "
    "designing collecting planning creating painting joining visiting traveling travelling moving selling starting "
    "launching implementing migrating watching cooking baking knitting hiking tracking following majoring interning "
    "freelancing managing leading targeting aiming expecting meeting leaving loving enjoying"
)
"""Verbs whose progressive tells what somebody is doing these days."""

FUTURE_DOING: Final = _words("planning joining visiting starting moving launching leaving hosting meeting")

STATES: Final = (
    "allergic to|married to|engaged to|based in|from|into|interested in|afraid of|good at|passionate about|fluent in"
    "|responsible for|in charge of|originally from|obsessed with|a fan of|scared of|intolerant to|addicted to"
    "|certified in|enrolled in|a member of|due"
)
"""Words after "I am" that take an object and tell a lasting state."""

TRAITS: Final = (
    "vegan|vegetarian|pescatarian|single|married|divorced|widowed|engaged|retired|pregnant|diabetic|left-handed"
    "|lactose[- ]intolerant|gluten[- ]free|unemployed|self-employed|bilingual|an only child|an introvert|an extrovert"
    "|gay|lesbian|bisexual|trans(?:gender)?|non-?binary|jewish|muslim|christian|catholic|buddhist|hindu|atheist"
    "|dyslexic|deaf|blind|color[- ]?blind|autistic"
)
"""Words after "I am" that tell a lasting trait by themselves."""

KIN: Final = (
    "wife|husband|partner|spouse|fiance|fiancé|fiancee|fiancée|girlfriend|boyfriend|mother|mom|mum|father|dad|sister"
    "|brother|son|daughter|aunt|uncle|cousin|niece|nephew|grandmother|grandma|grandfather|grandpa|stepmother|stepfather"
    "|mother-in-law|father-in-law|best friend|close friend|friend|roommate|flatmate|neighbor|neighbour|boss|manager"
    "|mentor|coach|colleague|coworker|co-worker|teacher|tutor|therapist|doctor|landlord|supervisor|advisor|assistant"
    "|dog|cat|puppy|kitten|horse|rabbit|parrot|hamster|turtle|pup|pet"
)
"""Those whom a name belongs to: relations and pets are closed classes."""
SEVERAL: Final = _words(
    "friend colleague coworker co-worker cousin sister brother son daughter aunt uncle dog cat neighbor neighbour niece"
    " nephew teacher tutor assistant kitten puppy pup pet roommate mentor"
) | {"close friend"}
"""Of those, the ones of whom somebody may have several."""

PARTICLES: Final = (
    "up for|up to|up with|out to|out of|out for|away from|back to|back from|down to|into|onto|to|for|in|at|with|on|from"
    "|up|out|off|about|over|by|through|as|down|away|back|around|after|of|towards|under|across|along"
)
"""What belongs to a verb when it stands right behind it ("went to", "signed up for")."""


def third_person(verb: str) -> str:
    """Play -> plays, study -> studies, have -> has."""
    if verb in ("have", "do", "go"):
        return {"have": "has", "do": "does", "go": "goes"}[verb]
    if verb.endswith("y") and verb[-2:-1] not in "aeiou":
        return f"{verb[:-1]}ies"
    return f"{verb}es" if verb.endswith(("s", "sh", "ch", "x", "z", "o")) else f"{verb}s"


STATES_IN_PROGRESS: Final = _words("enjoy live love use work")
"""Verbs of which the progressive says the same as the plain present."""


def base_of_gerund(verb: str) -> str:
    """Working -> work, as far as a rule goes: for the same predicate as the plain present."""
    stem = verb.removesuffix("ing")
    for base in (f"{stem}e", stem, stem[:-1]):
        if base in HABITS:
            return base
    return stem


def event_verb(verb: str) -> str | None:
    """The past form of a past verb or participle; None where it is none, or tells no event."""
    if verb in IRREGULAR:
        past = verb
    elif verb in PAST_OF:
        past = PAST_OF[verb]
    elif verb.endswith("ed") and len(verb) > 4:
        past = verb
    else:
        return None
    return past
