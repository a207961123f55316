//! OpenAI: <https://platform.openai.com/docs/api-reference>, and everything that calls itself
//! compatible with it, by `openaiCustomUrl`.

use common::config::{ConfigError, Node, Section};
use common::json::{Object, Patch};
use common::llm::api::Api;

use super::response_format::ResponseFormat;
use super::{Endpoint, Keyless, Others, Profile, Provider, custom_url};
use translate::Manner;

pub(super) static PROFILE: Profile = Profile {
    keyless: Keyless::ClientKey,
    others: Others::Sent,
    settings: super::own::<OpenAi>(),
    ..Profile::new(
        "openai",
        "api.openai.com",
        &[
            (Api::ChatCompletions, "/v1/chat/completions"),
            (Api::Completions, "/v1/completions"),
            (Api::Embeddings, "/v1/embeddings"),
            (Api::Responses, "/v1/responses"),
            (Api::RetrieveResponse, "/v1/responses/{response_id}"),
            (Api::CancelResponse, "/v1/responses/{response_id}/cancel"),
            (Api::ResponseInputItems, "/v1/responses/{response_id}/input_items"),
            (Api::Models, "/v1/models"),
            (Api::Model, "/v1/models/{model_id}"),
            (Api::ImageGeneration, "/v1/images/generations"),
            (Api::ImageVariation, "/v1/images/variations"),
            (Api::ImageEdit, "/v1/images/edits"),
            (Api::AudioSpeech, "/v1/audio/speech"),
            (Api::AudioTranscription, "/v1/audio/transcriptions"),
            (Api::AudioTranslation, "/v1/audio/translations"),
            (Api::Realtime, "/v1/realtime"),
            (Api::Videos, "/v1/videos"),
            (Api::RetrieveVideo, "/v1/videos/{video_id}"),
            (Api::RetrieveVideoContent, "/v1/videos/{video_id}/content"),
            (Api::VideoRemix, "/v1/videos/{video_id}/remix"),
            (Api::Files, "/v1/files"),
            (Api::RetrieveFile, "/v1/files/{file_id}"),
            (Api::RetrieveFileContent, "/v1/files/{file_id}/content"),
            (Api::Batches, "/v1/batches"),
            (Api::RetrieveBatch, "/v1/batches/{batch_id}"),
            (Api::CancelBatch, "/v1/batches/{batch_id}/cancel"),
            (Api::FineTuningJobs, "/v1/fine_tuning/jobs"),
            (Api::RetrieveFineTuningJob, "/v1/fine_tuning/jobs/{fine_tuning_job_id}"),
            (Api::FineTuningJobEvents, "/v1/fine_tuning/jobs/{fine_tuning_job_id}/events"),
            (Api::FineTuningJobCheckpoints, "/v1/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints"),
            (Api::CancelFineTuningJob, "/v1/fine_tuning/jobs/{fine_tuning_job_id}/cancel"),
            (Api::ResumeFineTuningJob, "/v1/fine_tuning/jobs/{fine_tuning_job_id}/resume"),
            (Api::PauseFineTuningJob, "/v1/fine_tuning/jobs/{fine_tuning_job_id}/pause"),
            (
                Api::FineTuningCheckpointPermissions,
                "/v1/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions",
            ),
            (
                Api::DeleteFineTuningCheckpointPermission,
                "/v1/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions/{permission_id}",
            ),
        ],
    )
};

/// Ends of `openaiCustomUrl` that name one API.
const NAMED: &[&str] = &[
    "/completions",
    "/embeddings",
    "/audio/speech",
    "/audio/transcriptions",
    "/audio/translations",
    "/images/generations",
    "/images/variations",
    "/images/edits",
    "/models",
    "/responses",
    "/fine_tuning/jobs",
    "/fine_tuning/checkpoints",
    "/realtime",
    "/videos",
];

common::settings! {
    struct OpenAi {
        /// A base (`https://host/api/v3`), under which APIs stand as under `/v1` at OpenAI, or the URL of one API
        /// (`https://host/x/chat/completions`), from which the base of the others follows. **`https://host` alone means
        /// `/chat/completions`, without `/v1`.**
        openai_custom_url: String,
        /// The `response_format` of every chat.
        response_json_schema: Option<ResponseFormat>,
    }
}

impl Provider for OpenAi {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn endpoint(&self, node: &Node<'_>, section: &mut Section<'_>) -> Result<Endpoint, ConfigError> {
        if self.openai_custom_url.is_empty() {
            return Ok(PROFILE.endpoint());
        }
        custom_url::endpoint(&self.openai_custom_url, "openaiCustomUrl", NAMED, &PROFILE, node, section)
    }

    /// Of what is elsewhere nobody knows whether it is more than compatible.
    fn manner(&self, elsewhere: bool) -> Manner {
        if elsewhere || !self.openai_custom_url.is_empty() {
            Manner::OPENAI
        } else {
            Manner { order: Manner::NEWEST_FIRST, ..Manner::OPENAIS_OWN }
        }
    }

    /// What OpenAI itself has no notion of goes as it came.
    fn edits(&self, api: Api) -> bool {
        !matches!(api, Api::CohereRerank | Api::QwenRerank)
    }

    fn edit(&self, api: Api, body: &Object<'_>, patch: &mut Patch<'_>) {
        ResponseFormat::apply(self.response_json_schema.as_ref(), api, body, patch);
    }
}
