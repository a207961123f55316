//! Baidu Qianfan, version 2: <https://cloud.baidu.com/doc/qianfan-api/s/3m7of64lb>.

use common::llm::api::Api;

use super::Profile;

pub(super) static PROFILE: Profile = Profile::new(
    "baidu",
    "qianfan.baidubce.com",
    &[(Api::ChatCompletions, "/v2/chat/completions"), (Api::Embeddings, "/v2/embeddings")],
);
