//! Azure OpenAI: <https://learn.microsoft.com/azure/ai-foundry/openai/reference>.

use common::config::{ConfigError, Node, Section};
use common::llm::api::Api;

use super::custom_url::{CustomUrl, rebased};
use super::{Auth, Endpoint, Others, Profile, Provider, Query, openai};
use translate::Manner;

pub(super) static PROFILE: Profile = Profile {
    auth: Auth::Header("api-key"),
    others: Others::Refused,
    keeps_original_path: true,
    knows_developer: true,
    settings: super::own::<Azure>(),
    ..Profile::new(
        "azure",
        "",
        &[
            (Api::ChatCompletions, "/openai/deployments/{model}/chat/completions"),
            (Api::Completions, "/openai/deployments/{model}/completions"),
            (Api::Embeddings, "/openai/deployments/{model}/embeddings"),
            (Api::ImageGeneration, "/openai/deployments/{model}/images/generations"),
            (Api::ImageVariation, "/openai/deployments/{model}/images/variations"),
            (Api::ImageEdit, "/openai/deployments/{model}/images/edits"),
            (Api::AudioSpeech, "/openai/deployments/{model}/audio/speech"),
            (Api::AudioTranscription, "/openai/deployments/{model}/audio/transcriptions"),
            (Api::AudioTranslation, "/openai/deployments/{model}/audio/translations"),
            (Api::Realtime, "/openai/realtime?deployment={model}"),
            (Api::Responses, "/openai/responses"),
            (Api::RetrieveResponse, "/openai/responses/{response_id}"),
            (Api::CancelResponse, "/openai/responses/{response_id}/cancel"),
            (Api::ResponseInputItems, "/openai/responses/{response_id}/input_items"),
            (Api::Models, "/openai/models"),
            (Api::Model, "/openai/models/{model_id}"),
            (Api::Files, "/openai/files"),
            (Api::RetrieveFile, "/openai/files/{file_id}"),
            (Api::RetrieveFileContent, "/openai/files/{file_id}/content"),
            (Api::Batches, "/openai/batches"),
            (Api::RetrieveBatch, "/openai/batches/{batch_id}"),
            (Api::CancelBatch, "/openai/batches/{batch_id}/cancel"),
            (Api::FineTuningJobs, "/openai/fine_tuning/jobs"),
            (Api::RetrieveFineTuningJob, "/openai/fine_tuning/jobs/{fine_tuning_job_id}"),
            (Api::FineTuningJobEvents, "/openai/fine_tuning/jobs/{fine_tuning_job_id}/events"),
            (Api::FineTuningJobCheckpoints, "/openai/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints"),
            (Api::CancelFineTuningJob, "/openai/fine_tuning/jobs/{fine_tuning_job_id}/cancel"),
            (Api::ResumeFineTuningJob, "/openai/fine_tuning/jobs/{fine_tuning_job_id}/resume"),
            (Api::PauseFineTuningJob, "/openai/fine_tuning/jobs/{fine_tuning_job_id}/pause"),
            (Api::Videos, "/openai/v1/videos"),
            (Api::RetrieveVideo, "/openai/v1/videos/{video_id}"),
            (Api::RetrieveVideoContent, "/openai/v1/videos/{video_id}/content"),
            (Api::VideoRemix, "/openai/v1/videos/{video_id}/remix"),
        ],
    )
};

common::settings! {
    struct Azure {
        /// Required, with `?api-version=…` unless it ends in `/openai/v1`. The host alone: deployments are named by the
        /// (mapped) model. `…/openai/deployments/<name>`: this deployment. Any longer path: this very path for every
        /// request.
        azure_service_url: String,
    }
}

impl Provider for Azure {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    /// The URL says by its path how much of the vendor's path it fixes.
    fn endpoint(&self, node: &Node<'_>, _: &mut Section<'_>) -> Result<Endpoint, ConfigError> {
        if self.azure_service_url.is_empty() {
            return Err(node.error("missing azureServiceUrl in provider config"));
        }
        let place = node.get("azureServiceUrl");
        let place = place.as_ref().unwrap_or(node);
        let Some(url) = CustomUrl::parse(&self.azure_service_url) else {
            return Err(place.error("expected a URL such as `https://name.openai.azure.com?api-version=…`"));
        };
        let is_v1 = is_v1(&url);
        let has_version = url.query.split('&').any(|pair| pair.split('=').next() == Some("api-version"));
        if !is_v1 && !has_version {
            let shown = &self.azure_service_url;
            return Err(
                place.error(format!("missing api-version query parameter in azureServiceUrl: {shown}"))
            );
        }
        let deployment = url.path.strip_prefix("/openai/deployments/").filter(|name| !name.contains('/'));
        let mut endpoint = PROFILE.endpoint();
        endpoint.authority = Some(url.authority);
        endpoint.query = Query { fixed: url.query, drops_client: false };
        if is_v1 {
            endpoint.apis = rebased(&url.path, openai::PROFILE.apis);
        } else if let Some(deployment) = deployment {
            for (_, path) in &mut endpoint.apis {
                *path = path.replace("{model}", deployment);
            }
        } else if !url.path.is_empty() {
            // A whole path: it is the one for everything.
            endpoint.apis.clear();
            endpoint.elsewhere = Some(url.path);
            endpoint.query.drops_client = true;
        }
        Ok(endpoint)
    }

    fn manner(&self, _: bool) -> Manner {
        let version =
            self.azure_service_url.split(['?', '&']).find_map(|pair| pair.strip_prefix("api-version="));
        // Versions are dates, with a word behind some; without one it is the newest API.
        let knows_limit = version.is_none_or(|version| version >= LIMIT_SINCE);
        let own = Manner::OPENAIS_OWN;
        let limit = if knows_limit { own.limit } else { Manner::OPENAI.limit };
        // Which older version has Responses, and in which region, nobody here knows.
        let order = match CustomUrl::parse(&self.azure_service_url) {
            Some(url) if is_v1(&url) => Manner::NEWEST_FIRST,
            _ => own.order,
        };
        Manner { limit, order, ..own }
    }
}

/// Whether all of the API stands there as at OpenAI:
/// <https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle>.
fn is_v1(url: &CustomUrl) -> bool {
    url.path.ends_with("/openai/v1")
}

/// <https://learn.microsoft.com/azure/ai-services/openai/whats-new>
const LIMIT_SINCE: &str = "2024-09-01";
