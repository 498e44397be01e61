"""Our weights under the names and in the layout of Hugging Face's models, and its masks: what parity tests need."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig
from transformers.masking_utils import create_sliding_window_causal_mask
from transformers.models.mistral.modeling_mistral import MistralAttention, MistralRotaryEmbedding

from gpt import GPT2, MultiHeadSelfAttention

# Ours -> theirs, within a block; theirs stores the weights of linear layers transposed (`Conv1D`).
GPT2_BLOCK = {
    "attention_norm": "ln_1",
    "attention.output": "attn.c_proj",
    "feed_forward_norm": "ln_2",
    "feed_forward.expand": "mlp.c_fc",
    "feed_forward.project": "mlp.c_proj",
}


def gpt2_reference(model: GPT2) -> GPT2LMHeadModel:
    """Hugging Face's GPT-2 with the weights of our model."""
    config = model.config
    reference = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.context_length,
            n_embd=config.embed_size,
            n_layer=config.num_layers,
            n_head=config.num_heads,
            n_inner=config.hidden_size,
            attn_implementation="eager",
            bos_token_id=0,
            eos_token_id=0,
        )
    ).eval()
    ours = model.state_dict()
    theirs = {
        "transformer.wte.weight": ours["token_embedding.weight"],
        "lm_head.weight": ours["token_embedding.weight"],
        "transformer.wpe.weight": ours["position_embedding.weight"],
        "transformer.ln_f.weight": ours["final_norm.weight"],
        "transformer.ln_f.bias": ours["final_norm.bias"],
    }
    for layer in range(config.num_layers):
        for kind in ("weight", "bias"):
            our_block, their_block = f"blocks.{layer}", f"transformer.h.{layer}"
            projections = [ours[f"{our_block}.attention.{name}.{kind}"] for name in ("query", "key", "value")]
            theirs[f"{their_block}.attn.c_attn.{kind}"] = _transposed(torch.cat(projections))  # (C, 3 C)
            for our_name, their_name in GPT2_BLOCK.items():
                theirs[f"{their_block}.{their_name}.{kind}"] = _transposed(ours[f"{our_block}.{our_name}.{kind}"])
    reference.load_state_dict(theirs, strict=True)
    return reference


def _transposed(weight: Tensor) -> Tensor:
    return weight.T if weight.ndim == 2 else weight


def mistral_config(attention: MultiHeadSelfAttention) -> MistralConfig:
    """The configuration of the Mistral whose attention this is."""
    assert attention.rotary is not None
    return MistralConfig(
        vocab_size=8,
        hidden_size=attention.num_heads * attention.head_dim,
        num_attention_heads=attention.num_heads,
        num_key_value_heads=attention.num_kv_heads,
        sliding_window=attention.window_size,
        rope_parameters={"rope_type": "default", "rope_theta": attention.rotary.base},
        attn_implementation="eager",
    )


def mistral_attention_output(attention: MultiHeadSelfAttention, x: Tensor) -> Tensor:
    """What Mistral's attention layer makes of x (B, T, C) with our weights, under the mask that transformers makes."""
    config = mistral_config(attention)
    reference = MistralAttention(config, layer_idx=0).eval()
    names = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "o_proj": "output"}
    with torch.no_grad():
        for theirs, ours in names.items():
            reference.get_submodule(theirs).weight.copy_(attention.get_submodule(ours).weight)
    positions = torch.arange(x.shape[1])[None]
    mask = create_sliding_window_causal_mask(
        config=config, inputs_embeds=x, attention_mask=None, past_key_values=None, position_ids=positions
    )
    angles = MistralRotaryEmbedding(config)(x, positions)
    return reference(x, position_embeddings=angles, attention_mask=mask)[0]


def alibi_paper_slopes(num_heads: int) -> list[float]:
    """The slopes as the authors of ALiBi compute them (github.com/ofirpress/attention_with_linear_biases)."""
    if num_heads & (num_heads - 1) == 0:
        start = 2 ** (-8 / num_heads)
        return [start ** (i + 1) for i in range(num_heads)]
    closest = 1 << (num_heads.bit_length() - 1)
    return alibi_paper_slopes(closest) + alibi_paper_slopes(2 * closest)[0::2][: num_heads - closest]


def newton_schulz(matrix: Tensor, steps: int = 5) -> Tensor:
    """Muon's iteration for one matrix of any shape, as published (kellerjordan.github.io/posts/muon), in its dtype."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x
