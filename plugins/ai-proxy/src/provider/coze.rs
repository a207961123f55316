//! Coze: <https://www.coze.cn/open/docs/developer_guides/chat_v3>. Its API is its own, so paths and bodies go as
//! the client sent them.

use common::llm::api::Api;

use super::{Others, Profile, Provider};

pub(super) static PROFILE: Profile = Profile {
    others: Others::Sent,
    keeps_original_path: true,
    settings: super::own::<Coze>(),
    ..Profile::new("coze", "api.coze.cn", &[])
};

common::settings! {
    struct Coze {}
}

impl Provider for Coze {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn edits(&self, _: Api) -> bool {
        false
    }
}
