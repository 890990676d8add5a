"""Captions to a text encoder's hidden states, each caption encoded once."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from diffsynth.config.fields import hub_id
from diffsynth.errors import MediaError, ModelError
from diffsynth.hub import snapshot
from diffsynth.models import Condition
from diffsynth.runtime import Runtime
from diffsynth.training.data.example import Labels, Texts

MOST_KEPT = 8192
PATTERNS = ("*.json", "*.model", "*.txt", "*.safetensors", "pytorch_model.bin")
KINDS = {"clip": "CLIPTextModel", "clip_text_model": "CLIPTextModel", "t5": "T5EncoderModel"}
"""The class of transformers that holds the text side of a model; others are taken whole."""


class Captions:
    """As `Conditioner`. A text's states beyond its last token are zero."""

    def __init__(self, tokenizer: Any, encoder: Any, condition: Condition, device: torch.device) -> None:
        self.tokenizer, self.encoder, self.condition, self.device = tokenizer, encoder, condition, device
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    @classmethod
    def load(
        cls, reference: str, tokens: int, dropout: float, runtime: Runtime, key: str = "condition.encoder"
    ) -> "Captions":
        """`key` names, for messages, what asks for the encoder."""
        import transformers

        hub = hub_id(reference)
        folder = snapshot(hub, PATTERNS, f'"{key}"') if hub else Path(reference)
        try:
            # Left open, transformers would ask on the terminal whether to run a folder's code.
            closed: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
            settings = transformers.AutoConfig.from_pretrained(folder, **closed)
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **closed)
            name = KINDS.get(settings.model_type)
            encoder: Any = (
                transformers.AutoModel.from_pretrained(folder, **closed)
                if name is None
                else getattr(transformers, name).from_pretrained(folder, local_files_only=True)
            )
        except (OSError, ValueError, KeyError) as problem:
            raise ModelError(
                f'{reference}: no text encoder with its tokenizer could be loaded from there ({problem}). "{key}" is '
                "a folder, or an id of the hub, with config.json, the weights and the tokenizer's files."
            ) from problem
        device = runtime.torch_device()
        encoder = encoder.eval().requires_grad_(False).to(device)  # noqa: FBT003  torch's own name for it
        width = encoder.config.hidden_size
        longest = getattr(encoder.config, "max_position_embeddings", tokens) or tokens
        condition = Condition("text", text_dim=width, text_tokens=min(tokens, longest), dropout=dropout)
        return cls(tokenizer, encoder, condition, device)

    def told(self, labels: Labels, captions: Texts) -> Tensor | None:
        texts = [each for row in captions for each in row]
        if any(each is None for each in texts):
            raise MediaError(
                '"condition" is "text", but the data set has clips or pictures without a caption. Set "captions": true '
                "where each clip has a text beside it (clip.mp4 and clip.txt)."
            )
        states = [self.encoded(str(each)) for each in texts]
        return torch.stack(states).reshape(len(captions), -1, *states[0].shape)

    @torch.inference_mode()
    def encoded(self, text: str) -> Tensor:
        """(tokens, dim), on the CPU."""
        length = self.condition.text_tokens
        if text in self._kept:
            self._kept.move_to_end(text)
            return functional.pad(self._kept[text], (0, 0, 0, length - len(self._kept[text])))
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        read = self.tokenizer(text, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        mask = read.attention_mask
        said = self.encoder(read.input_ids.to(self.device), attention_mask=mask.to(self.device))
        states: Tensor = (said.last_hidden_state[0].float().cpu() * mask[0][:, None]).clone()
        said_of = max(mask[0].nonzero().flatten().tolist(), default=-1) + 1
        self._kept[text] = states[:said_of].clone()  # padding would be the most of what is kept
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return states
