"""`/v1/embeddings` and `/v1/models`, as OpenAI has them."""

import base64
from typing import Any

import numpy as np
from fastapi import APIRouter

from api.deps import Caller, ServiceDep
from api.limits import OpenAIRoute
from api.schemas_openai import (
    EmbeddingOut,
    EmbeddingsIn,
    EmbeddingsOut,
    EmbeddingsUsageOut,
    ModelOut,
    ModelsOut,
)
from memory.ingest import check_text
from recalld.core.errors import InvalidInput

router = APIRouter(prefix="/v1", tags=["models"], route_class=OpenAIRoute)


@router.post("/embeddings", response_model=EmbeddingsOut)
def create_embeddings(body: EmbeddingsIn, who: Caller, service: ServiceDep) -> EmbeddingsOut:
    """Vectors of unit length, by the encoder that recall uses."""
    texts = [body.input] if isinstance(body.input, str) else body.input
    most = service.settings.items_max
    if len(texts) > most:
        raise InvalidInput.of("input", f"at most {most} texts", most)
    wrong = [
        error
        for number, text in enumerate(texts)
        for error in check_text(text, service.settings.text_bytes_max, f"input.{number}")
    ]
    if wrong:
        raise InvalidInput(f"{wrong[0].field}: {wrong[0].message}", wrong[:20])
    encoder = service.encoder
    if body.dimensions not in (None, encoder.dimensions):
        raise InvalidInput.of("dimensions", f"this encoder has {encoder.dimensions}", encoder.dimensions)
    vectors = encoder.encode(texts)
    tokens = sum(encoder.count_tokens(text) for text in texts)
    data = [
        EmbeddingOut(index=number, embedding=_written(vector, body.encoding_format))
        for number, vector in enumerate(vectors)
    ]
    usage = EmbeddingsUsageOut(prompt_tokens=tokens, total_tokens=tokens)
    return EmbeddingsOut(model=encoder.name, data=data, usage=usage)


@router.get("/models", response_model=ModelsOut)
def list_models(who: Caller, service: ServiceDep) -> ModelsOut:
    """The models of this server: the chat model first, if it can answer, then the encoder."""
    chat = service.llm_name()
    data = [ModelOut(id=chat, purpose="chat")] if chat is not None else []
    return ModelsOut(data=[*data, ModelOut(id=service.encoder.name, purpose="embedding")])


def _written(vector: np.ndarray[Any, np.dtype[np.float32]], form: str) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(value) for value in vector]
