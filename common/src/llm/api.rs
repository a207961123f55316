//! The operations of LLM vendors, and which path means which.

/// Values of the placeholders of a path, such as `{file_id}`, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placeholders(Vec<(&'static str, String)>);

impl Placeholders {
    /// The value of a placeholder.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// One row for each operation: its name in configurations, and the end of the paths that mean it.
///
/// Earlier rows are tried first, so what is asked most stands first. A row without a path is found by
/// no path: a provider says when it is meant.
macro_rules! apis {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, $path:literal;)*) => {
        /// An operation of an LLM vendor.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Api {
            $($(#[$doc])* $variant,)*
        }

        impl Api {
            /// All of them, in the order in which paths are tried.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in configurations, such as `openai/v1/chatcompletions`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The path by which clients name it, such as `/v1/files/{file_id}`. Empty: none does.
            #[must_use]
            pub fn path(self) -> &'static str {
                match self {
                    $(Self::$variant => $path,)*
                }
            }
        }
    };
}

apis! {
    /// OpenAI, create a chat completion.
    ChatCompletions, "openai/v1/chatcompletions", "/v1/chat/completions";
    /// Anthropic, create a message.
    AnthropicMessages, "anthropic/v1/messages", "/v1/messages";
    /// OpenAI, create a response.
    Responses, "openai/v1/responses", "/v1/responses";
    /// OpenAI, create embeddings.
    Embeddings, "openai/v1/embeddings", "/v1/embeddings";
    /// OpenAI, create a (legacy) completion.
    Completions, "openai/v1/completions", "/v1/completions";
    /// OpenAI, list models.
    Models, "openai/v1/models", "/v1/models";
    /// OpenAI, create speech.
    AudioSpeech, "openai/v1/audiospeech", "/v1/audio/speech";
    /// OpenAI, transcribe audio.
    AudioTranscription, "openai/v1/audiotranscription", "/v1/audio/transcriptions";
    /// OpenAI, translate audio.
    AudioTranslation, "openai/v1/audiotranslation", "/v1/audio/translations";
    /// OpenAI, realtime session over a WebSocket.
    Realtime, "openai/v1/realtime", "/v1/realtime";
    /// OpenAI, create an image.
    ImageGeneration, "openai/v1/imagegeneration", "/v1/images/generations";
    /// OpenAI, create an image variation.
    ImageVariation, "openai/v1/imagevariation", "/v1/images/variations";
    /// OpenAI, edit an image.
    ImageEdit, "openai/v1/imageedit", "/v1/images/edits";
    /// OpenAI, create or list batches.
    Batches, "openai/v1/batches", "/v1/batches";
    /// OpenAI, upload or list files.
    Files, "openai/v1/files", "/v1/files";
    /// OpenAI, create or list videos.
    Videos, "openai/v1/videos", "/v1/videos";
    /// OpenAI, moderate a text.
    Moderations, "openai/v1/moderations", "/v1/moderations";
    /// OpenAI, create or list fine-tuning jobs.
    FineTuningJobs, "openai/v1/fine-tuningjobs", "/v1/fine_tuning/jobs";
    /// Anthropic, count the tokens of a message.
    MessagesCountTokens, "anthropic/v1/messages/counttokens", "/v1/messages/count_tokens";
    /// Anthropic, create a (legacy) completion.
    AnthropicComplete, "anthropic/v1/complete", "/v1/complete";
    /// Cohere, rerank documents.
    CohereRerank, "cohere/v1/rerank", "/v1/rerank";
    /// Qwen, rerank documents.
    QwenRerank, "qwen/v1/rerank", "/v1/reranks";
    /// Qwen, conversations.
    QwenConversations, "qwen/v1/conversations", "/v1/conversations";
    /// Gemini, generate content. Before the model, as a version may be `v1`.
    GeminiGenerateContent, "gemini/v1beta/generatecontent", "/{version}/models/{model}:generateContent";
    /// Gemini, generate content as a stream.
    GeminiStreamGenerateContent, "gemini/v1beta/streamgeneratecontent",
        "/{version}/models/{model}:streamGenerateContent";
    /// OpenAI, retrieve or delete a model.
    Model, "openai/v1/retrievemodel", "/v1/models/{model_id}";
    /// OpenAI, retrieve a batch.
    RetrieveBatch, "openai/v1/retrievebatch", "/v1/batches/{batch_id}";
    /// OpenAI, cancel a batch.
    CancelBatch, "openai/v1/cancelbatch", "/v1/batches/{batch_id}/cancel";
    /// OpenAI, retrieve or delete a file.
    RetrieveFile, "openai/v1/retrievefile", "/v1/files/{file_id}";
    /// OpenAI, download a file.
    RetrieveFileContent, "openai/v1/retrievefilecontent", "/v1/files/{file_id}/content";
    /// OpenAI, retrieve or delete a video.
    RetrieveVideo, "openai/v1/retrievevideo", "/v1/videos/{video_id}";
    /// OpenAI, download a video.
    RetrieveVideoContent, "openai/v1/retrievevideocontent", "/v1/videos/{video_id}/content";
    /// OpenAI, remix a video.
    VideoRemix, "openai/v1/videoremix", "/v1/videos/{video_id}/remix";
    /// OpenAI, retrieve or delete a response.
    RetrieveResponse, "openai/v1/retrieveresponse", "/v1/responses/{response_id}";
    /// OpenAI, cancel a response.
    CancelResponse, "openai/v1/cancelresponse", "/v1/responses/{response_id}/cancel";
    /// OpenAI, list what a response was made from.
    ResponseInputItems, "openai/v1/responseinputitems", "/v1/responses/{response_id}/input_items";
    /// OpenAI, retrieve a fine-tuning job.
    RetrieveFineTuningJob, "openai/v1/retrievefine-tuningjob", "/v1/fine_tuning/jobs/{fine_tuning_job_id}";
    /// OpenAI, list a fine-tuning job's events.
    FineTuningJobEvents, "openai/v1/fine-tuningjobsevents", "/v1/fine_tuning/jobs/{fine_tuning_job_id}/events";
    /// OpenAI, list a fine-tuning job's checkpoints.
    FineTuningJobCheckpoints, "openai/v1/fine-tuningjobcheckpoints",
        "/v1/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints";
    /// OpenAI, cancel a fine-tuning job.
    CancelFineTuningJob, "openai/v1/cancelfine-tuningjob", "/v1/fine_tuning/jobs/{fine_tuning_job_id}/cancel";
    /// OpenAI, resume a fine-tuning job.
    ResumeFineTuningJob, "openai/v1/resumefine-tuningjob", "/v1/fine_tuning/jobs/{fine_tuning_job_id}/resume";
    /// OpenAI, pause a fine-tuning job.
    PauseFineTuningJob, "openai/v1/pausefine-tuningjob", "/v1/fine_tuning/jobs/{fine_tuning_job_id}/pause";
    /// OpenAI, create or list the permissions of a checkpoint.
    FineTuningCheckpointPermissions, "openai/v1/fine-tuningjobcheckpointpermissions",
        "/v1/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions";
    /// OpenAI, delete a permission of a checkpoint.
    DeleteFineTuningCheckpointPermission, "openai/v1/deletefine-tuningjobcheckpointpermission",
        "/v1/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions/{permission_id}";
    /// Qwen's own asynchronous services, such as image synthesis.
    QwenServicesAigc, "qwen/v1/services/aigc", "";
    /// Qwen's tasks.
    QwenTasks, "qwen/v1/tasks", "";
    /// Any method of a Vertex AI publisher model.
    VertexRaw, "vertex/raw", "";
}

impl Api {
    /// The operation of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|api| api.name() == name)
    }

    /// Which operation a path without query means. Any prefix may stand before the path that
    /// [`Api::path`] shows; nothing may follow it, not even a slash.
    #[must_use]
    pub fn detect(path: &str) -> Option<(Self, Placeholders)> {
        let find = |path: &str| Self::ALL.iter().find_map(|api| Some((*api, matched(api.path(), path)?)));
        // Gemini takes what stands behind its methods for nothing.
        find(path).or_else(|| {
            // A search for a text would be a large part of a small plugin's module.
            let mut parts = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
            find(parts.find(|up_to| GEMINI_METHODS.iter().any(|name| up_to.ends_with(name)))?)
        })
    }
}

/// What is asked of a model, behind its name.
const GEMINI_METHODS: [&str; 2] = [":generateContent", ":streamGenerateContent"];

/// The placeholders of a pattern, where it is the end of a path.
fn matched(pattern: &'static str, path: &str) -> Option<Placeholders> {
    if pattern.is_empty() {
        return None;
    }
    if !pattern.as_bytes().contains(&b'{') {
        return path.ends_with(pattern).then(Placeholders::default);
    }
    let mut found = Vec::new();
    let mut segments = path.rsplit('/');
    // The first thing in a pattern is a slash, so its last piece from behind is empty and not looked at.
    for expected in pattern.rsplit('/').filter(|segment| !segment.is_empty()) {
        let segment = segments.next()?;
        let Some((name, rest)) = expected.strip_prefix('{').and_then(|inner| inner.split_once('}')) else {
            if segment != expected {
                return None;
            }
            continue;
        };
        let value = segment.strip_suffix(rest).filter(|value| !value.is_empty())?;
        found.push((name, value.to_owned()));
    }
    // What stands before must end at a slash.
    segments.next()?;
    Some(Placeholders(found))
}

/// A path template with its placeholders filled in by name; one without a value stays as it is.
#[must_use]
pub fn fill(template: &str, places: &Placeholders) -> String {
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, after)) = behind.split_once('}') else {
            out.push('{');
            rest = behind;
            continue;
        };
        match places.value(name) {
            Some(value) => out.push_str(value),
            None => {
                out.push('{');
                out.push_str(name);
                out.push('}');
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Option<Api>) {
        assert_eq!(Api::detect(path).map(|(api, _)| api), expected, "{path}");
    }

    #[test]
    fn every_path_means_its_own_operation_under_any_prefix() {
        for api in Api::ALL.iter().filter(|api| !api.path().is_empty()) {
            let tailed = GEMINI_METHODS.iter().any(|name| api.path().ends_with(name));
            check(api.path(), Some(*api));
            check(&format!("/ai/x{}", api.path()), Some(*api));
            check(&format!("{}/", api.path()), tailed.then_some(*api));
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        for (at, api) in Api::ALL.iter().enumerate() {
            assert_eq!(Api::from_name(api.name()), Some(*api));
            assert!(Api::ALL.iter().skip(at + 1).all(|other| other.name() != api.name()));
        }
        assert_eq!(Api::from_name("openai/v1/nothing"), None);
    }

    #[test]
    fn what_only_looks_alike_means_nothing() {
        check("/v1/chat/completionsx", None);
        check("/v1/zzz", None);
        check("/", None);
        check("", None);
        check("/v1/files//content", None);
        check("/v1/models/gemini:somethingElse", Some(Api::Model));
    }

    #[test]
    fn gemini_is_meant_by_the_method_whatever_the_version() {
        for version in ["v1", "v1beta", "v2"] {
            let path = format!("/ai/{version}/models/gemma:27b");
            check(&format!("{path}:generateContent"), Some(Api::GeminiGenerateContent));
            check(&format!("{path}:streamGenerateContent"), Some(Api::GeminiStreamGenerateContent));
            check(&format!("{path}:generateContent/"), Some(Api::GeminiGenerateContent));
            check(&format!("{path}:streamGenerateContent/x"), Some(Api::GeminiStreamGenerateContent));
        }
        check("/v1/models/ft:gpt-4o:me::1", Some(Api::Model));
    }

    #[test]
    fn placeholders_are_filled_by_name() {
        let (api, places) = Api::detect("/x/v1/fine_tuning/checkpoints/ft:a/permissions/p-1").unwrap();
        assert_eq!(api, Api::DeleteFineTuningCheckpointPermission);
        assert_eq!(fill("/c/{permission_id}/of/{fine_tuned_model_checkpoint}", &places), "/c/p-1/of/ft:a");
        assert_eq!(fill("/{unknown}/{open", &places), "/{unknown}/{open");
        let (_, places) = Api::detect("/v1beta/models/g:streamGenerateContent").unwrap();
        assert_eq!((places.value("version"), places.value("model")), (Some("v1beta"), Some("g")));
    }
}
