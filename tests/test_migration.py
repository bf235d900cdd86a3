"""The migration page leaves no name out, there or here."""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import torch_heads as th
from torch_heads.integrations import estimator as est

PAGE = (Path(__file__).parents[1] / "docs" / "migration.md").read_text()
TABLES = "\n".join(line for line in PAGE.splitlines() if line.startswith("|"))

# what the documentation of the originals names
THERE = """
    Head BinaryClassHead MultiClassHead MultiLabelHead RegressionHead PoissonRegressionHead
    LogisticRegressionHead MultiHead SequentialHeadWrapper binary_or_multi_class_head
    name logits_dimension loss_reduction loss predictions metrics update_metrics
    create_estimator_spec input_sequence_mask_key static_head
    weight_column thresholds label_vocabulary loss_fn n_classes classes_for_class_based_metrics
    label_dimension inverse_link_fn compute_full_loss heads head_weights sequence_length_mask
    feature_columns labels logits features mode regularization_losses keys eval_metrics optimizer
    trainable_variables train_op_fn update_ops
    sum sum_over_batch_size auto
    ModeKeys TRAIN EVAL PREDICT "train" "eval" "infer"
    EstimatorSpec train_op eval_metric_ops export_outputs training_chief_hooks training_hooks
    scaffold evaluation_hooks prediction_hooks _replace
    ClassificationOutput RegressionOutput PredictOutput
    serving_default classification regression predict
    classes class_ids all_classes all_class_ids logistic probabilities top_k
    average_loss regularization_loss accuracy precision recall accuracy_baseline auc
    auc_precision_recall label/mean prediction/mean accuracy/positive_threshold_
    precision/positive_threshold_ recall/positive_threshold_ precision_at_recall_
    recall_at_precision_ sensitivity_at_specificity_ specificity_at_sensitivity_
    probability_mean/class auc/class auc_precision_recall/class loss/<head> global_step
    Estimator model_fn model_dir params config warm_start_from train evaluate predict
    train_and_evaluate TrainSpec EvalSpec RunConfig input_fn steps max_steps hooks saving_listeners
    checkpoint_path predict_keys yield_single_examples export_saved_model latest_checkpoint
    experimental_export_all_saved_models
    get_variable_names get_variable_value eval_dir throttle_secs start_delay_secs exporters
    save_checkpoints_steps save_checkpoints_secs keep_checkpoint_max log_step_count_steps
    tf_random_seed save_summary_steps session_config keep_checkpoint_every_n_hours train_distribute
    device_fn protocol eval_distribute experimental_distribute experimental_max_worker_delay_secs
    session_creation_timeout_secs checkpoint_save_graph_def replace
    DNNEstimator LinearEstimator hidden_units activation_fn dropout batch_norm sparse_combiner
    DNNClassifier DNNRegressor LinearClassifier LinearRegressor
    DNNLinearCombinedEstimator DNNLinearCombinedClassifier DNNLinearCombinedRegressor
    BaselineEstimator BaselineClassifier BaselineRegressor
    BoostedTreesEstimator BoostedTreesClassifier BoostedTreesRegressor
    RNNEstimator RNNClassifier LinearSDCA KMeans
    dnn_logit_fn_builder linear_logit_fn_builder call_logit_fn Adagrad Ftrl
    WarmStartSettings VocabInfo add_metrics
    Exporter BestExporter FinalExporter LatestExporter ServingInputReceiver
    TensorServingInputReceiver build_raw_serving_input_receiver_fn
    build_parsing_serving_input_receiver_fn build_raw_supervised_input_receiver_fn
    classifier_parse_example_spec regressor_parse_example_spec numpy_input_fn pandas_input_fn
    make_early_stopping_hook make_stop_at_checkpoint_step_hook stop_if_higher_hook
    stop_if_lower_hook stop_if_no_decrease_hook stop_if_no_increase_hook InMemoryEvaluatorHook
    SessionRunHook SessionRunArgs SessionRunContext SessionRunValues CheckpointSaverHook
    CheckpointSaverListener FeedFnHook FinalOpsHook GlobalStepWaiterHook LoggingTensorHook
    NanTensorHook NanLossDuringTrainingError ProfilerHook SecondOrStepTimer StepCounterHook
    StopAtStepHook SummarySaverHook get_global_step LearningRateSchedule
    numeric_column categorical_column_with_identity categorical_column_with_vocabulary_list
    categorical_column_with_vocabulary_file categorical_column_with_hash_bucket bucketized_column
    crossed_column weighted_categorical_column embedding_column shared_embeddings indicator_column
    DenseFeatures input_layer linear_model make_parse_example_spec shared_embedding_columns
    sequence_numeric_column sequence_categorical_column_with_identity
    sequence_categorical_column_with_vocabulary_list SequenceFeatures
    sequence_categorical_column_with_vocabulary_file sequence_categorical_column_with_hash_bucket
    key shape default_value dtype normalizer_fn num_buckets vocabulary_list num_oov_buckets
    dimension combiner initializer trainable
"""

HEADS: list[th.Head] = [
    th.BinaryClassHead(thresholds=[0.5], missing_label=-1),
    th.MultiClassHead(n_classes=3),
    th.MultiLabelHead(n_classes=2, thresholds=[0.5], classes_for_class_based_metrics=[0]),
    th.RegressionHead(),
    th.PoissonRegressionHead(),
    th.LogisticRegressionHead(),
]


def arguments() -> Iterator[str]:
    """Yield the names of all arguments that users give."""
    for value in [*map(vars(th).get, th.__all__), *map(vars(est).get, est.__all__)]:
        kinds = (th.Head, est.BaseEstimator)
        is_head = inspect.isclass(value) and issubclass(value, kinds)
        made_by_users = inspect.isfunction(value) or is_head
        if made_by_users and not inspect.isabstract(value):
            yield from inspect.signature(value).parameters
    for method in ["train", "evaluate", "predict"]:
        yield from [*inspect.signature(getattr(est.Estimator, method)).parameters][1:]
    for method in ["loss", "predictions", "metrics", "update_metrics", "create_estimator_spec"]:
        yield from [*inspect.signature(getattr(th.BinaryClassHead, method)).parameters][1:]
    for kind in [th.EstimatorSpec, est.RunConfig, est.TrainSpec, est.EvalSpec]:
        yield from (field.name for field in dataclasses.fields(kind))


def listed(name: str) -> bool:
    """Return whether the tables have the name as code, and not as a part of another one."""
    code = " ".join(re.findall(r"`[^`]+`", TABLES))
    whole = r"(?![\w])" if name[-1].isalnum() and not name.endswith("class") else ""
    return re.search(rf"(?<![\w/]){re.escape(name)}{whole}", code) is not None


@pytest.mark.parametrize("name", sorted({*THERE.split()}))
def test_every_name_of_the_originals_is_on_the_page(name: str) -> None:
    assert listed(name)


def test_every_public_name_is_on_the_page() -> None:
    assert [name for name in th.__all__ if f"`th.{name}`" not in PAGE] == []
    assert [name for name in est.__all__ if f"`est.{name}`" not in PAGE] == []


def test_every_argument_is_on_the_page() -> None:
    assert sorted({name for name in arguments() if not listed(name)}) == []


def test_every_key_is_on_the_page() -> None:
    keys = {key for head in HEADS for key in [*head.all_prediction_keys(), *head.metrics()]}
    assert len(keys) > 20
    assert sorted(key for key in keys if not listed(key)) == []


def test_every_name_that_the_page_promises_is_there() -> None:
    promised: dict[Any, set[str]] = {
        module: set(re.findall(rf"\b{short}\.(\w+)", PAGE))
        for short, module in [("th", th), ("est", est)]
    }
    assert all(promised.values())
    for module, names in promised.items():
        assert names <= set(module.__all__)
