//! Every plugin's code, for those who run it natively.

/// Something generic over filters, made for each plugin: pairs of its name and that.
macro_rules! each_plugin {
    ($make:ident) => {
        [
            ("ai-proxy", $make::<ai_proxy::AiProxy>),
            ("ai-statistics", $make::<ai_statistics::AiStatistics>),
            ("model-mapper", $make::<model_mapper::ModelMapper>),
            ("model-router", $make::<model_router::ModelRouter>),
        ]
    };
}

pub(crate) use each_plugin;
