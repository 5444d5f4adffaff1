"""Fields of a config.json that cannot change a count of parameters or FLOPs, whatever the family."""

NAMES = """
    _name_or_path name_or_path model_type architectures auto_map transformers_version dtype torch_dtype
    quantization_config compression_config base_model_name torchscript use_bfloat16 tf_legacy_loss
    attn_implementation _attn_implementation _attn_implementation_internal _flash_attn_2_enabled _commit_hash
    _experts_implementation_internal _output_attentions unsloth_fixed unsloth_version tokenizer_class
    task_specific_params finetuning_task problem_type id2label label2id num_labels

    bos_token_id eos_token_id pad_token_id sep_token_id cls_token_id mask_token_id unk_token_id eod_token_id
    decoder_start_token_id image_token_id

    hidden_act hidden_activation activation_function dense_act_fn initializer_range initializer_factor init_std
    init_method rms_norm_eps layer_norm_eps layer_norm_epsilon norm_eps norm_epsilon
    attention_dropout attn_dropout hidden_dropout dropout dropout_rate resid_dropout embd_dropout classifier_dropout
    attn_pdrop embd_pdrop emb_pdrop resid_pdrop ffn_dropout activation_dropout attn_dropout_prob layerdrop
    embedding_dropout output_dropout num_logits_to_keep calc_logits_for_entire_prompt use_flash_attn use_flash_attention

    rope_theta rope_scaling rope_parameters rope_interleave rope_type rope_local_base_freq partial_rotary_factor
    rotary_dim rotary_pct rotary_emb_base max_position_embeddings original_max_position_embeddings model_max_length
    max_sequence_length max_seq_len seq_length

    router_aux_loss_coef router_z_loss_coef router_jitter_noise input_jitter_noise aux_loss_alpha seq_aux
    output_router_logits norm_topk_prob routed_scaling_factor scoring_func topk_method n_group topk_group ep_size
    attn_logit_softcapping final_logit_softcapping logit_scale logits_scaling embedding_multiplier
    residual_multiplier attention_multiplier clip_qkv
    pretraining_tp use_cache cache_implementation gradient_checkpointing use_return_dict return_dict
    output_attentions output_hidden_states chunk_size_feed_forward is_decoder keys_to_ignore_at_inference
    scale_attn_weights scale_attn_by_inverse_layer_idx reorder_and_upcast_attn summary_activation
    summary_first_dropout summary_proj_to_labels summary_type summary_use_proj

    max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p
    typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids
    num_return_sequences output_scores return_dict_in_generate forced_bos_token_id forced_eos_token_id
    remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens prefix max_new_tokens
"""
HARMLESS = frozenset(NAMES.split())

# Understood at these values alone: another would change what the model is.
ONLY: dict[str, tuple[object, ...]] = {
    "pruned_heads": ({}, []),
    "tie_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "cross_attention_hidden_size": (),
}
