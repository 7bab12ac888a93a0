"""`/v1/embeddings` and `/v1/models`, as OpenAI has them (https://platform.openai.com/docs/api-reference/embeddings)."""

import base64
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from api.deps import Caller, ServiceDep
from api.limits import JsonRoute
from memory.ingest import check_text
from recalld.core.errors import InvalidInput

router = APIRouter(prefix="/v1", tags=["models"], route_class=JsonRoute)

Text = Annotated[str, Field(min_length=1)]


class EmbeddingsIn(BaseModel):
    """OpenAI's request; token ids are not understood."""

    model_config = ConfigDict(extra="ignore")

    input: Text | Annotated[list[Text], Field(min_length=1)]
    model: str | None = Field(None, max_length=256)
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)


@router.post("/embeddings", response_model=None)
def embeddings(body: EmbeddingsIn, who: Caller, service: ServiceDep) -> Response:
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
        {"object": "embedding", "index": number, "embedding": _written(vector, body.encoding_format)}
        for number, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return JSONResponse({"object": "list", "model": encoder.name, "data": data, "usage": usage})


@router.get("/models", response_model=None)
def models(who: Caller, service: ServiceDep) -> dict[str, Any]:
    """The models of this server: the chat model first, if it can answer, then the encoder."""
    chat = service.llm_name()
    names = [(chat, "chat")] if chat is not None else []
    names.append((service.encoder.name, "embedding"))
    data = [
        {"id": name, "object": "model", "created": 0, "owned_by": "recalld", "purpose": purpose}
        for name, purpose in names
    ]
    return {"object": "list", "data": data}


def _written(vector: np.ndarray[Any, np.dtype[np.float32]], form: str) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(value) for value in vector]
