"""Which tensor is the embedding: on the names and shapes of real checkpoints, and on small real files."""

import json

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from forensics.checkpoint.naming import choose_embeddings, expected_shape, named_tensor, role_by_name
from forensics.checkpoint.stored import StoredTensor
from forensics.errors import FormatError, TensorNotFoundError
from forensics.formats import BFLOAT16
from forensics.sources import open_checkpoint

# Real checkpoints: tensors that are or could be taken for an embedding, the config's telling keys, and E_in, E_out.
# Shapes are the published ones; layers are cut to one.
REAL = {
    "llama": (
        {
            "model.embed_tokens.weight": (32000, 4096),
            "model.layers.0.self_attn.q_proj.weight": (4096, 4096),
            "model.layers.0.self_attn.rotary_emb.inv_freq": (64,),
            "model.layers.0.mlp.down_proj.weight": (4096, 11008),
            "model.norm.weight": (4096,),
            "lm_head.weight": (32000, 4096),
        },
        {"vocab_size": 32000, "hidden_size": 4096},
        ("model.embed_tokens.weight", "lm_head.weight"),
    ),
    "llama, meta's own names": (
        {
            "tok_embeddings.weight": (32000, 4096),
            "norm.weight": (4096,),
            "output.weight": (32000, 4096),
            "layers.0.attention.wo.weight": (4096, 4096),
            "rope.freqs": (64,),
        },
        {},
        ("tok_embeddings.weight", "output.weight"),
    ),
    "qwen3 tied": (
        {
            "model.embed_tokens.weight": (151936, 1024),
            "model.layers.0.mlp.up_proj.weight": (3072, 1024),
            "model.layers.0.self_attn.q_norm.weight": (128,),
        },
        {"vocab_size": 151936, "hidden_size": 1024, "tie_word_embeddings": True},
        ("model.embed_tokens.weight", None),
    ),
    "qwen2-vl": (
        {
            "visual.patch_embed.proj.weight": (1280, 3, 2, 14, 14),
            "visual.merger.mlp.0.weight": (5120, 5120),
            "visual.blocks.0.attn.proj.weight": (1280, 1280),
            "model.embed_tokens.weight": (152064, 3584),
            "lm_head.weight": (152064, 3584),
        },
        {"vocab_size": 152064, "hidden_size": 3584, "vision_config": {"hidden_size": 3584}},
        ("model.embed_tokens.weight", "lm_head.weight"),
    ),
    "gemma": (
        {"model.embed_tokens.weight": (256000, 2048), "model.layers.0.mlp.gate_proj.weight": (16384, 2048)},
        {"vocab_size": 256000, "hidden_size": 2048},
        ("model.embed_tokens.weight", None),
    ),
    "gemma, google's own names": (
        {"embedder.weight": (256000, 2048), "model.layers.0.mlp.gate_proj.weight": (16384, 2048)},
        {},
        ("embedder.weight", None),
    ),
    "gemma3 multimodal, a config that is silent of the vocabulary": (
        {
            "language_model.model.embed_tokens.weight": (262208, 2560),
            "language_model.model.layers.0.mlp.down_proj.weight": (2560, 10240),
            "multi_modal_projector.mm_input_projection_weight": (1152, 2560),
            "vision_tower.vision_model.embeddings.patch_embedding.weight": (1152, 3, 14, 14),
            "vision_tower.vision_model.embeddings.position_embedding.weight": (4096, 1152),
        },
        {"text_config": {"hidden_size": 2560}, "vision_config": {"hidden_size": 1152}},
        ("language_model.model.embed_tokens.weight", None),
    ),
    "gemma3n, per-layer and per-modality embeddings": (
        {
            "model.language_model.embed_tokens.weight": (262400, 2048),
            "model.language_model.embed_tokens_per_layer.weight": (262144, 7680),
            "model.language_model.per_layer_model_projection.weight": (7680, 2048),
            "model.embed_audio.embedding.weight": (128, 1536),
            "model.embed_audio.embedding_projection.weight": (2048, 1536),
            "model.embed_vision.embedding.weight": (128, 2048),
            "model.embed_vision.embedding_projection.weight": (2048, 2048),
            "model.audio_tower.conformer.0.attention.attn.relative_position_embedding.pos_proj.weight": (1536, 1536),
        },
        {
            "audio_config": {"vocab_size": 128, "hidden_size": 1536},
            "text_config": {"vocab_size": 262400, "hidden_size": 2048, "vocab_size_per_layer_input": 262144},
            "vision_config": {"vocab_size": 128, "hidden_size": 2048},
        },
        ("model.language_model.embed_tokens.weight", None),
    ),
    "gpt2": (
        {
            "wte.weight": (50257, 768),
            "wpe.weight": (1024, 768),
            "h.0.attn.bias": (1, 1, 1024, 1024),
            "h.0.attn.c_attn.weight": (768, 2304),
            "ln_f.weight": (768,),
        },
        {"vocab_size": 50257, "n_embd": 768},
        ("wte.weight", None),
    ),
    "nanoGPT": (
        {
            "_orig_mod.transformer.wte.weight": (50304, 768),
            "_orig_mod.transformer.wpe.weight": (1024, 768),
            "_orig_mod.transformer.h.0.mlp.c_fc.weight": (3072, 768),
            "_orig_mod.lm_head.weight": (50304, 768),
        },
        {},
        ("_orig_mod.transformer.wte.weight", "_orig_mod.lm_head.weight"),
    ),
    "gpt-neox": (
        {
            "gpt_neox.embed_in.weight": (50432, 512),
            "gpt_neox.layers.0.attention.query_key_value.weight": (1536, 512),
            "gpt_neox.layers.0.attention.rotary_emb.inv_freq": (8,),
            "embed_out.weight": (50432, 512),
        },
        {"vocab_size": 50432, "hidden_size": 512},
        ("gpt_neox.embed_in.weight", "embed_out.weight"),
    ),
    "gpt-j": (
        {"transformer.wte.weight": (50400, 4096), "lm_head.weight": (50400, 4096), "lm_head.bias": (50400,)},
        {"vocab_size": 50400, "n_embd": 4096},
        ("transformer.wte.weight", "lm_head.weight"),
    ),
    "opt-350m, a narrow table": (
        {
            "model.decoder.embed_tokens.weight": (50272, 512),
            "model.decoder.embed_positions.weight": (2050, 1024),
            "model.decoder.project_in.weight": (1024, 512),
            "model.decoder.project_out.weight": (512, 1024),
            "lm_head.weight": (50272, 512),
        },
        {"vocab_size": 50272, "hidden_size": 1024, "word_embed_proj_dim": 512},
        ("model.decoder.embed_tokens.weight", "lm_head.weight"),
    ),
    "bert with its heads": (
        {
            "bert.embeddings.word_embeddings.weight": (30522, 768),
            "bert.embeddings.position_embeddings.weight": (512, 768),
            "bert.embeddings.token_type_embeddings.weight": (2, 768),
            "bert.embeddings.LayerNorm.gamma": (768,),
            "bert.encoder.layer.0.attention.output.dense.weight": (768, 768),
            "bert.pooler.dense.weight": (768, 768),
            "cls.predictions.transform.dense.weight": (768, 768),
            "cls.predictions.decoder.weight": (30522, 768),
            "cls.predictions.bias": (30522,),
            "cls.seq_relationship.weight": (2, 768),
        },
        {"vocab_size": 30522, "hidden_size": 768, "type_vocab_size": 2},
        ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
    ),
    "roberta": (
        {
            "roberta.embeddings.word_embeddings.weight": (50265, 768),
            "roberta.embeddings.position_embeddings.weight": (514, 768),
            "roberta.embeddings.token_type_embeddings.weight": (1, 768),
            "lm_head.dense.weight": (768, 768),
            "lm_head.decoder.weight": (50265, 768),
            "lm_head.layer_norm.weight": (768,),
        },
        {"vocab_size": 50265, "hidden_size": 768},
        ("roberta.embeddings.word_embeddings.weight", "lm_head.decoder.weight"),
    ),
    "distilbert": (
        {
            "distilbert.embeddings.word_embeddings.weight": (30522, 768),
            "distilbert.embeddings.position_embeddings.weight": (512, 768),
            "vocab_transform.weight": (768, 768),
            "vocab_projector.weight": (30522, 768),
        },
        {"vocab_size": 30522, "dim": 768},
        ("distilbert.embeddings.word_embeddings.weight", "vocab_projector.weight"),
    ),
    "deberta-v2": (
        {
            "deberta.embeddings.word_embeddings.weight": (128100, 768),
            "deberta.encoder.rel_embeddings.weight": (512, 768),
            "deberta.encoder.conv.conv.weight": (768, 768, 3),
            "lm_predictions.lm_head.dense.weight": (768, 768),
        },
        {"vocab_size": 128100, "hidden_size": 768},
        ("deberta.embeddings.word_embeddings.weight", None),
    ),
    "albert, factorised, without a config": (
        {
            "albert.embeddings.word_embeddings.weight": (30000, 128),
            "albert.embeddings.position_embeddings.weight": (512, 128),
            "albert.embeddings.token_type_embeddings.weight": (2, 128),
            "albert.encoder.embedding_hidden_mapping_in.weight": (768, 128),
            "predictions.decoder.weight": (30000, 128),
            "predictions.dense.weight": (128, 768),
            "sop_classifier.classifier.weight": (2, 768),
        },
        {},
        ("albert.embeddings.word_embeddings.weight", "predictions.decoder.weight"),
    ),
    "electra-small, without a config": (
        {
            "electra.embeddings.word_embeddings.weight": (30522, 128),
            "electra.embeddings.position_embeddings.weight": (512, 128),
            "electra.embeddings_project.weight": (256, 128),
            "generator_predictions.dense.weight": (128, 256),
            "generator_lm_head.bias": (30522,),
        },
        {},
        ("electra.embeddings.word_embeddings.weight", None),
    ),
    "mobilebert": (
        {
            "mobilebert.embeddings.word_embeddings.weight": (30522, 128),
            "mobilebert.embeddings.embedding_transformation.weight": (512, 384),
            "cls.predictions.decoder.weight": (30522, 128),
            "cls.predictions.dense.weight": (30522, 384),
        },
        {"vocab_size": 30522, "hidden_size": 512, "embedding_size": 128},
        ("mobilebert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
    ),
    "modernbert": (
        {
            "model.embeddings.tok_embeddings.weight": (50368, 768),
            "model.embeddings.norm.weight": (768,),
            "head.dense.weight": (768, 768),
            "decoder.weight": (50368, 768),
        },
        {"vocab_size": 50368, "hidden_size": 768},
        ("model.embeddings.tok_embeddings.weight", "decoder.weight"),
    ),
    "xlnet": (
        {
            "transformer.word_embedding.weight": (32000, 768),
            "transformer.mask_emb": (1, 1, 768),
            "transformer.layer.0.rel_attn.seg_embed": (2, 12, 64),
            "lm_loss.weight": (32000, 768),
        },
        {"vocab_size": 32000, "d_model": 768},
        ("transformer.word_embedding.weight", "lm_loss.weight"),
    ),
    "xlm": (
        {
            "transformer.embeddings.weight": (95000, 1024),
            "transformer.position_embeddings.weight": (512, 1024),
            "transformer.lang_embeddings.weight": (15, 1024),
            "pred_layer.proj.weight": (95000, 1024),
        },
        {"n_words": 95000, "emb_dim": 1024},
        ("transformer.embeddings.weight", "pred_layer.proj.weight"),
    ),
    "t5 v1.1": (
        {
            "shared.weight": (32128, 512),
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (32, 6),
            "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (32, 6),
            "lm_head.weight": (32128, 512),
        },
        {"vocab_size": 32128, "d_model": 512},
        ("shared.weight", "lm_head.weight"),
    ),
    "bart": (
        {
            "model.shared.weight": (50265, 768),
            "model.encoder.embed_positions.weight": (1026, 768),
            "model.decoder.embed_positions.weight": (1026, 768),
            "final_logits_bias": (1, 50265),
        },
        {"vocab_size": 50265, "d_model": 768},
        ("model.shared.weight", None),
    ),
    "mamba, rows padded beyond the config": (
        {
            "backbone.embedding.weight": (50280, 768),
            "backbone.layers.0.mixer.in_proj.weight": (3072, 768),
            "backbone.layers.0.mixer.A_log": (1536, 16),
            "backbone.norm_f.weight": (768,),
            "lm_head.weight": (50280, 768),
        },
        {"vocab_size": 50277, "d_model": 768},
        ("backbone.embedding.weight", "lm_head.weight"),
    ),
    "rwkv, its own names": (
        {
            "emb.weight": (65536, 768),
            "blocks.0.att.time_maa_w1": (768, 160),
            "blocks.0.ffn.key.weight": (2688, 768),
            "head.weight": (65536, 768),
        },
        {},
        ("emb.weight", "head.weight"),
    ),
    "rwkv in transformers": (
        {"rwkv.embeddings.weight": (50277, 768), "rwkv.blocks.0.ln1.weight": (768,), "head.weight": (50277, 768)},
        {"vocab_size": 50277, "hidden_size": 768},
        ("rwkv.embeddings.weight", "head.weight"),
    ),
    "whisper": (
        {
            "model.decoder.embed_tokens.weight": (51865, 384),
            "model.decoder.embed_positions.weight": (448, 384),
            "model.encoder.embed_positions.weight": (1500, 384),
            "model.encoder.conv1.weight": (384, 80, 3),
            "proj_out.weight": (51865, 384),
        },
        {"vocab_size": 51865, "d_model": 384},
        ("model.decoder.embed_tokens.weight", "proj_out.weight"),
    ),
    "llava": (
        {
            "language_model.model.embed_tokens.weight": (32064, 4096),
            "language_model.lm_head.weight": (32064, 4096),
            "multi_modal_projector.linear_1.weight": (4096, 1024),
            "vision_tower.vision_model.embeddings.class_embedding": (1024,),
            "vision_tower.vision_model.embeddings.position_embedding.weight": (577, 1024),
        },
        {"text_config": {"vocab_size": 32064, "max_position_embeddings": 4096}, "image_token_index": 32000},
        ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"),
    ),
    "mllama, more rows than are scored": (
        {
            "language_model.model.embed_tokens.weight": (128264, 4096),
            "language_model.lm_head.weight": (128256, 4096),
            "vision_model.gated_positional_embedding.tile_embedding.weight": (9, 8197120),
            "vision_model.pre_tile_positional_embedding.embedding.weight": (9, 5120),
            "multi_modal_projector.weight": (4096, 7680),
        },
        {"text_config": {"vocab_size": 128256, "hidden_size": 4096}, "vision_config": {"hidden_size": 1280}},
        ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"),
    ),
    "instructblip, a second vocabulary": (
        {
            "language_model.shared.weight": (32128, 2048),
            "language_model.lm_head.weight": (32128, 2048),
            "qformer.embeddings.word_embeddings.weight": (30523, 768),
            "qformer.embeddings.position_embeddings.weight": (512, 768),
            "vision_model.embeddings.class_embedding": (1, 1, 1408),
        },
        {
            "qformer_config": {"vocab_size": 30523, "hidden_size": 768},
            "text_config": {"vocab_size": 32128, "d_model": 2048},
        },
        ("language_model.shared.weight", "language_model.lm_head.weight"),
    ),
    "clip": (
        {
            "text_model.embeddings.token_embedding.weight": (49408, 512),
            "text_model.embeddings.position_embedding.weight": (77, 512),
            "text_projection.weight": (512, 512),
            "vision_model.embeddings.patch_embedding.weight": (768, 3, 32, 32),
            "vision_model.embeddings.position_embedding.weight": (50, 768),
            "visual_projection.weight": (512, 768),
        },
        {"text_config": {"vocab_size": 49408, "hidden_size": 512}},
        ("text_model.embeddings.token_embedding.weight", None),
    ),
    "deepseek-v3, with a layer that predicts one token further": (
        {
            "model.embed_tokens.weight": (129280, 7168),
            "model.layers.61.embed_tokens.weight": (129280, 7168),
            "model.layers.61.eh_proj.weight": (7168, 14336),
            "model.layers.61.shared_head.head.weight": (129280, 7168),
            "model.layers.61.shared_head.norm.weight": (7168,),
            "model.layers.3.mlp.gate.weight": (256, 7168),
            "lm_head.weight": (129280, 7168),
        },
        {"vocab_size": 129280, "hidden_size": 7168},
        ("model.embed_tokens.weight", "lm_head.weight"),
    ),
    "falcon": (
        {
            "transformer.word_embeddings.weight": (65024, 4544),
            "transformer.h.0.mlp.dense_h_to_4h.weight": (18176, 4544),
            "lm_head.weight": (65024, 4544),
        },
        {"vocab_size": 65024, "hidden_size": 4544},
        ("transformer.word_embeddings.weight", "lm_head.weight"),
    ),
    "bloom": (
        {
            "word_embeddings.weight": (250880, 1024),
            "word_embeddings_layernorm.weight": (1024,),
            "h.0.self_attention.query_key_value.weight": (3072, 1024),
        },
        {"vocab_size": 250880, "n_embed": 1024},
        ("word_embeddings.weight", None),
    ),
    "phi-1, its first names": (
        {
            "transformer.embd.wte.weight": (51200, 2048),
            "transformer.h.0.mlp.fc1.weight": (8192, 2048),
            "lm_head.ln.weight": (2048,),
            "lm_head.linear.weight": (51200, 2048),
        },
        {"vocab_size": 51200, "n_embd": 2048},
        ("transformer.embd.wte.weight", "lm_head.linear.weight"),
    ),
    "phi-3 vision": (
        {
            "model.embed_tokens.weight": (32064, 3072),
            "model.vision_embed_tokens.img_processor.vision_model.embeddings.position_embedding.weight": (577, 1024),
            "model.vision_embed_tokens.img_projection.0.weight": (3072, 4096),
            "lm_head.weight": (32064, 3072),
        },
        {"vocab_size": 32064, "hidden_size": 3072},
        ("model.embed_tokens.weight", "lm_head.weight"),
    ),
    "mpt": (
        {"transformer.wte.weight": (50432, 4096), "transformer.blocks.0.ffn.up_proj.weight": (16384, 4096)},
        {"vocab_size": 50432, "d_model": 4096},
        ("transformer.wte.weight", None),
    ),
    "olmo, its own names": (
        {
            "model.transformer.wte.weight": (50304, 4096),
            "model.transformer.blocks.0.ff_out.weight": (4096, 11008),
            "model.transformer.blocks.0.ff_proj.weight": (22016, 4096),
            "model.transformer.ff_out.weight": (50304, 4096),
        },
        {"vocab_size": 50280, "embedding_size": 50304, "d_model": 4096},
        ("model.transformer.wte.weight", "model.transformer.ff_out.weight"),
    ),
    "chatglm": (
        {
            "transformer.embedding.word_embeddings.weight": (65024, 4096),
            "transformer.rotary_pos_emb.inv_freq": (32,),
            "transformer.encoder.layers.0.mlp.dense_h_to_4h.weight": (27392, 4096),
            "transformer.output_layer.weight": (65024, 4096),
        },
        {"padded_vocab_size": 65024, "hidden_size": 4096},
        ("transformer.embedding.word_embeddings.weight", "transformer.output_layer.weight"),
    ),
    "internlm2": (
        {
            "model.tok_embeddings.weight": (92544, 4096),
            "model.layers.0.attention.wqkv.weight": (6144, 4096),
            "output.weight": (92544, 4096),
        },
        {"vocab_size": 92544, "hidden_size": 4096},
        ("model.tok_embeddings.weight", "output.weight"),
    ),
    "molmo, added tokens in a table of their own": (
        {
            "model.transformer.wte.embedding": (152064, 3584),
            "model.transformer.wte.new_embedding": (128, 3584),
            "model.transformer.ff_out.weight": (152064, 3584),
            "model.vision_backbone.image_vit.class_embedding": (1024,),
        },
        {"vocab_size": 152064, "hidden_size": 3584},
        ("model.transformer.wte.embedding", "model.transformer.ff_out.weight"),
    ),
    "janus, an image codebook": (
        {
            "language_model.model.embed_tokens.weight": (102400, 4096),
            "language_model.lm_head.weight": (102400, 4096),
            "gen_embed.weight": (16384, 8),
            "gen_vision_model.quantize.embedding.weight": (16384, 8),
            "gen_head.output_mlp_projector.weight": (4096, 4096),
        },
        {"language_config": {"vocab_size": 102400}, "gen_vision_config": {"params": {"image_token_size": 16384}}},
        ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"),
    ),
    "megatron": (
        {
            "language_model.embedding.word_embeddings.weight": (50304, 1024),
            "language_model.embedding.position_embeddings.weight": (1024, 1024),
            "language_model.output_layer.weight": (50304, 1024),
        },
        {},
        ("language_model.embedding.word_embeddings.weight", "language_model.output_layer.weight"),
    ),
    "fairseq": (
        {
            "decoder.embed_tokens.weight": (50264, 1024),
            "decoder.embed_positions._float_tensor": (1,),
            "decoder.layers.0.fc1.weight": (4096, 1024),
            "decoder.output_projection.weight": (50264, 1024),
        },
        {},
        ("decoder.embed_tokens.weight", "decoder.output_projection.weight"),
    ),
    "sentence-transformers": (
        {
            "0.auto_model.embeddings.word_embeddings.weight": (30522, 384),
            "0.auto_model.embeddings.position_embeddings.weight": (512, 384),
            "2.linear.weight": (128, 384),
        },
        {},
        ("0.auto_model.embeddings.word_embeddings.weight", None),
    ),
    "gguf": (
        {
            "token_embd.weight": (151936, 1024),
            "token_embd_norm.weight": (1024,),
            "per_layer_token_embd.weight": (151936, 7680),
            "position_embd.weight": (2048, 1024),
            "token_types.weight": (2, 1024),
            "blk.0.attn_output.weight": (1024, 1024),
            "blk.47.nextn.embed_tokens.weight": (151936, 1024),
            "blk.47.nextn.shared_head_head.weight": (151936, 1024),
            "output_norm.weight": (1024,),
            "output.weight": (151936, 1024),
            "cls.output.weight": (2, 1024),
        },
        {"model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024},
        ("token_embd.weight", "output.weight"),
    ),
    "a reward model's head is not a token head": (
        {"model.embed_tokens.weight": (32000, 4096), "score.weight": (1, 4096), "head.weight": (2, 4096)},
        {"vocab_size": 32000, "hidden_size": 4096},
        ("model.embed_tokens.weight", None),
    ),
    "a narrow table with a wide head": (
        {"embeddings.word_embeddings.weight": (32000, 128), "lm_head.weight": (32000, 768), "head.weight": (2, 128)},
        {},
        ("embeddings.word_embeddings.weight", "lm_head.weight"),
    ),
    "ctrl, a name that says nothing": (
        {"transformer.w.weight": (246534, 1280), "transformer.h.0.ffn.0.weight": (8192, 1280)},
        {"vocab_size": 246534, "n_embd": 1280},
        ("transformer.w.weight", None),
    ),
}


def stored(name, shape, tmp_path, dtype="BF16", fmt=BFLOAT16):
    """A tensor without a file: to hold its bytes against another's would fail the test."""
    n_bytes = 2 * int(np.prod(shape, dtype=object))
    return StoredTensor(name, shape, dtype, fmt, tmp_path / f"{name}.safetensors", 0, n_bytes)


@pytest.mark.parametrize(("shapes", "config", "expected"), REAL.values(), ids=REAL)
@pytest.mark.parametrize("order", [1, -1], ids=["", "reversed"])
def test_real_checkpoints(tmp_path, shapes, config, expected, order):
    tensors = [stored(name, shape, tmp_path) for name, shape in shapes.items()][::order]
    chosen = choose_embeddings(tensors, config, "model")
    assert tuple(t and t.name for t in chosen) == expected


NEVER = [
    "model.decoder.embed_positions.weight",
    "bert.embeddings.position_embeddings.weight",
    "bert.embeddings.token_type_embeddings.weight",
    "xlm.lang_embeddings.weight",
    "wpe.weight",
    "visual.patch_embed.proj.weight",
    "vision_model.embeddings.patch_embedding.weight",
    "vision_tower.embeddings.word_embeddings.weight",
    "audio_tower.embed_tokens.weight",
    "speech_encoder.embed_tokens.weight",
    "model.image_newline",
    "model.embed_tokens_per_layer.weight",
    "model.rotary_emb.inv_freq",
    "time_embedding.linear_1.weight",
    "class_embedding.weight",
    "encoder.relative_attention_bias.weight",
    "encoder.layer.0.output.dense.weight",
    "model.layers.0.self_attn.o_proj.weight",
    "transformer.h.0.mlp.proj_out.weight",
    "embeddings.LayerNorm.weight",
    "word_embeddings_layernorm.weight",
    "output_norm.weight",
    "lm_head.bias",
    "lm_head.dense.weight",
    "cls.predictions.transform.dense.weight",
    "model.embed_tokens.weight.absmax",
    "model.embed_tokens.weight.quant_map",
    "lm_head.scales",
    "lm_head.qzeros",
    "weight",
    "",
    ".",
]


@pytest.mark.parametrize("name", NEVER)
def test_never_a_token_embedding_or_head(name):
    assert role_by_name(name) == "unknown"


# What the config says


def test_the_text_part_of_a_config():
    nested = {"text_config": {"vocab_size": 7, "hidden_size": 3}, "vision_config": {"hidden_size": 5}}
    assert expected_shape(nested) == expected_shape({"vocab_size": 7, "hidden_size": 3})
    assert (expected_shape({}).rows, expected_shape({}).dims) == (None, ())


@pytest.mark.parametrize("value", [None, "12", 12.0, True, [12], {"a": 1}, -12, 0, 10**400])
def test_a_config_value_that_is_no_size_changes_nothing(tmp_path, value):
    shapes = {"model.embed_tokens.weight": (12, 4), "lm_head.weight": (12, 4), "model.other.weight": (4, 4)}
    tensors = [stored(name, shape, tmp_path) for name, shape in shapes.items()]
    for config in ({"vocab_size": value, "hidden_size": value}, {"text_config": {"vocab_size": value}}):
        chosen = choose_embeddings(tensors, config, "model")
        assert [t.name for t in chosen] == ["model.embed_tokens.weight", "lm_head.weight"]


@pytest.mark.parametrize("rows", [4, 10, 512])
def test_a_config_of_another_model_does_not_mislead(tmp_path, rows):
    """It names rows that no matrix, a wrong matrix or the positions have."""
    shapes = {"model.embed_tokens.weight": (12, 4), "lm_head.weight": (12, 4), "model.x.weight": (4, 4)}
    shapes["embed_positions.weight"] = (512, 4)
    tensors = [stored(name, shape, tmp_path) for name, shape in shapes.items()]
    chosen = choose_embeddings(tensors, {"vocab_size": rows, "hidden_size": 4}, "model")
    assert [t.name for t in chosen] == ["model.embed_tokens.weight", "lm_head.weight"]


# No choice, or more than one


def test_a_head_alone(tmp_path):
    chosen = choose_embeddings([stored("lm_head.weight", (9, 4), tmp_path)], {"vocab_size": 9}, "model")
    assert chosen[0] is None
    assert chosen[1].name == "lm_head.weight"


def test_nothing_recognisable_lists_the_largest_matrices(tmp_path):
    tensors = [stored(f"m{i}", (i + 1, 4), tmp_path) for i in range(12)]
    with pytest.raises(TensorNotFoundError, match="model: no tensor is recognisably an embedding") as caught:
        choose_embeddings([*tensors, stored("bias", (99,), tmp_path)], {}, "model")
    assert caught.value.candidates == tuple(f"m{i}" for i in range(11, 3, -1))
    assert "--tensor: m11 [12 x 4] BF16; m10 [11 x 4] BF16" in caught.value.hint


def test_no_matrix_at_all(tmp_path):
    with pytest.raises(TensorNotFoundError, match="holds no matrix") as caught:
        choose_embeddings([stored("bias", (99,), tmp_path)], {"vocab_size": 99}, "model")
    assert caught.value.candidates == ()
    assert isinstance(caught.value, KeyError)


def test_several_of_the_right_shape_and_no_telling_name(tmp_path):
    tensors = [stored(name, (9, 4), tmp_path) for name in ("a", "b")]
    with pytest.raises(TensorNotFoundError, match="2 tensors could be the embedding") as caught:
        choose_embeddings([*tensors, stored("c", (4, 4), tmp_path)], {"vocab_size": 9, "hidden_size": 4}, "model")
    assert caught.value.candidates == ("a", "b")


# On real files


def save(folder, tensors, config=None):
    folder.mkdir(exist_ok=True)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def table(rows=12, dim=4, seed=0, dtype=torch.bfloat16):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_tables_that_are_shared_are_one(tmp_path):
    tensors = {n: table() for n in ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")}
    checkpoint = open_checkpoint(save(tmp_path / "t5", {**tensors, "lm_head.weight": table()}))
    assert checkpoint.tied == "identical"
    assert checkpoint.matrix().tensor == "shared.weight"


def test_tables_that_differ_are_listed(tmp_path):
    tensors = {"encoder.embed_tokens.weight": table(), "decoder.embed_tokens.weight": table(seed=1)}
    folder = save(tmp_path / "marian", tensors)
    with pytest.raises(TensorNotFoundError, match="2 tensors could be the embedding") as e:
        open_checkpoint(folder)
    assert set(e.value.candidates) == set(tensors)
    for name, values in tensors.items():
        checkpoint = open_checkpoint(folder, tensor=name)
        assert checkpoint.tied is None
        assert [(m.tensor, m.role) for m in checkpoint.matrices] == [(name, "input")]
        np.testing.assert_array_equal(checkpoint.matrix().values(), values.float().numpy())


def test_a_tensor_by_name_may_be_any_matrix(tmp_path):
    folder = save(tmp_path / "m", {"model.embed_tokens.weight": table(), "x.proj": table(4, 6), "bias": torch.zeros(3)})
    assert open_checkpoint(folder, tensor="x.proj").matrix().role == "unknown"
    with pytest.raises(ValueError, match=r"'bias' has shape \[3\], an embedding is a matrix"):
        open_checkpoint(folder, tensor="bias")


def test_a_misspelt_name_brings_close_ones(tmp_path):
    folder = save(tmp_path / "m", {"model.embed_tokens.weight": table(), "lm_head.weight": table(seed=1)})
    with pytest.raises(TensorNotFoundError, match=r"no tensor 'model\.embed_token\.weight' among 2") as caught:
        open_checkpoint(folder, tensor="model.embed_token.weight")
    assert caught.value.candidates[0] == "model.embed_tokens.weight"
    assert "did you mean model.embed_tokens.weight" in caught.value.hint
    with pytest.raises(TensorNotFoundError) as caught:
        open_checkpoint(folder, tensor="\u2603")
    assert set(caught.value.candidates) == {"model.embed_tokens.weight", "lm_head.weight"}


def test_close_names_are_not_those_of_the_layers(tmp_path):
    names = [f"model.layers.{i}.embed_token.weight" for i in range(9)] + ["model.embed_tokens.weight"]
    with pytest.raises(TensorNotFoundError) as caught:
        named_tensor({name: stored(name, (9, 4), tmp_path) for name in names}, "model.embed_token.weight", "model")
    assert caught.value.candidates == ("model.embed_tokens.weight",)


def test_a_name_in_a_file_without_tensors():
    with pytest.raises(TensorNotFoundError, match="did you mean another file"):
        named_tensor({}, "x", "model")


# Packed weights: said, never scanned


def packed_error(folder, **named):
    with pytest.raises(FormatError) as caught:
        open_checkpoint(folder, **named)
    return str(caught.value)


def test_a_bitsandbytes_table(tmp_path):
    tensors = {
        "model.embed_tokens.weight": torch.zeros(64 * 64 // 2, 1, dtype=torch.uint8),
        "model.embed_tokens.weight.absmax": torch.zeros(64),
        "model.embed_tokens.weight.quant_map": torch.zeros(16),
        "model.embed_tokens.weight.quant_state.bitsandbytes__nf4": torch.zeros(90, dtype=torch.uint8),
        "lm_head.weight": table(64, 64),
    }
    config = {"vocab_size": 64, "hidden_size": 64}
    message = packed_error(save(tmp_path / "bnb", tensors, config))
    assert "'model.embed_tokens.weight' is stored as U8" in message
    assert "packed low-bit weights are not read" in message


@pytest.mark.parametrize(
    "packed",
    [
        {"lm_head.qweight": (8, 64), "lm_head.qzeros": (1, 8), "lm_head.g_idx": (64,)},  # GPTQ: 8 values down a column
        {"lm_head.qweight": (64, 8), "lm_head.qzeros": (1, 8)},  # AWQ: 8 values along a row
        {"lm_head.weight_packed": (64, 8), "lm_head.weight_shape": (2,)},  # compressed-tensors
        {"lm_head.weight": (64, 64)},  # 8 bits, unpacked
    ],
    ids=["gptq", "awq", "compressed-tensors", "int"],
)
def test_a_packed_head_is_not_called_absent(tmp_path, packed):
    tensors = {name: torch.zeros(shape, dtype=torch.int32) for name, shape in packed.items()}
    tensors |= {"model.embed_tokens.weight": table(64, 64), "lm_head.scales": torch.zeros(1, 64)}
    # Packed layers beside it are nothing to the embedding.
    tensors["model.layers.0.self_attn.o_proj.qweight"] = torch.zeros(8, 64, dtype=torch.int32)
    folder = save(tmp_path / "packed", tensors, {"vocab_size": 64, "hidden_size": 64})
    message = packed_error(folder)
    assert f"'{next(iter(packed))}' is stored as I32" in message
    assert "--tensor model.embed_tokens.weight" in message
    assert open_checkpoint(folder, tensor="model.embed_tokens.weight").matrix().n_rows == 64


def test_packed_layers_with_a_plain_table(tmp_path):
    tensors = {
        "model.embed_tokens.weight": table(64, 64),
        "model.layers.0.mlp.down_proj.qweight": torch.zeros(8, 64, dtype=torch.int32),
        "model.layers.0.mlp.down_proj.scales": torch.zeros(1, 64),
    }
    assert open_checkpoint(save(tmp_path / "gptq", tensors)).tied == "absent"


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bool])
def test_numbers_that_are_no_embedding_format(tmp_path, dtype):
    folder = save(tmp_path / "m", {"model.embed_tokens.weight": torch.zeros(4, 4, dtype=dtype)})
    assert "is stored as" in packed_error(folder)
    assert "is stored as" in packed_error(folder, tensor="model.embed_tokens.weight")


def test_a_head_padded_on_one_side_only_is_the_head(tmp_path):
    for rows in (100, 128):
        tensors = [
            stored("model.embed_tokens.weight", (112, 16), tmp_path),
            stored("lm_head.weight", (rows, 16), tmp_path),
        ]
        for config in ({}, {"vocab_size": 112, "hidden_size": 16}, {"vocab_size": rows, "hidden_size": 16}):
            chosen, head = choose_embeddings(tensors, config, "x")
            assert (chosen.name, head.name) == ("model.embed_tokens.weight", "lm_head.weight")


def test_a_classifier_is_not_the_head(tmp_path):
    tensors = [stored("wte.weight", (1000, 16), tmp_path), stored("head.weight", (3, 16), tmp_path)]
    assert choose_embeddings(tensors, {}, "x")[1] is None


def test_a_table_without_a_telling_name_beside_a_head(tmp_path):
    tensors = [stored("tok.weight", (100, 16), tmp_path), stored("lm_head.weight", (100, 16), tmp_path)]
    chosen, head = choose_embeddings(tensors, {"vocab_size": 100, "hidden_size": 16}, "x")
    assert (chosen.name, head.name) == ("tok.weight", "lm_head.weight")


def test_two_tables_without_a_telling_name_beside_a_head(tmp_path):
    save(tmp_path, {"tok.weight": table(seed=1), "tok2.weight": table(seed=2), "lm_head.weight": table(seed=3)})
    with pytest.raises(TensorNotFoundError, match="2 tensors could be"):
        open_checkpoint(tmp_path)
