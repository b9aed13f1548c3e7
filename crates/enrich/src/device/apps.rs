//! Apps that open links in a browser of their own, told by a token in the User-Agent or by their package name.
//!
//! Asked before the rules of uap-core, which know some of these and take others for another browser.

/// Tokens in the order they are looked for: the more special before the more general.
const TOKENS: [(&str, &str); 38] = [
    ("MicroMessenger", "WeChat"),
    ("Barcelona ", "Threads"),
    ("Instagram", "Instagram"),
    ("FBAN/Messenger", "Messenger"),
    ("FBAN/Orca", "Messenger"),
    ("FB_IAB/MESSENGER", "Messenger"),
    ("FB_IAB/Orca", "Messenger"),
    ("FBAN", "Facebook"),
    ("FBAV", "Facebook"),
    ("FB_IAB", "Facebook"),
    ("MetaIAB Facebook", "Facebook"),
    ("LinkedInApp", "LinkedIn"),
    ("[LinkedIn]", "LinkedIn"),
    ("musical_ly", "TikTok"),
    ("BytedanceWebview", "TikTok"),
    ("trill_", "TikTok"),
    ("TikTok", "TikTok"),
    ("Snapchat", "Snapchat"),
    (" Line/", "LINE"),
    ("KAKAOTALK", "KakaoTalk"),
    ("NAVER(inapp", "Naver"),
    ("Pinterest/", "Pinterest"),
    ("Pinterest for", "Pinterest"),
    ("Twitter for", "X"),
    ("TwitterAndroid", "X"),
    ("GSA/", "Google"),
    ("Zalo", "Zalo"),
    (" Viber", "Viber"),
    (" WhatsApp", "WhatsApp"),
    ("Telegram-Android", "Telegram"),
    ("DiscordBot", ""),
    ("Discord/", "Discord"),
    ("Slack_SSB", "Slack"),
    ("com.Slack", "Slack"),
    ("Reddit/", "Reddit"),
    ("__weibo__", "Weibo"),
    ("baiduboxapp", "Baidu"),
    ("DingTalk", "DingTalk"),
];

/// Android names the package of the app in `X-Requested-With`.
const PACKAGES: [(&str, &str); 32] = [
    ("com.discord", "Discord"),
    ("com.facebook.katana", "Facebook"),
    ("com.facebook.lite", "Facebook"),
    ("com.facebook.mlite", "Messenger"),
    ("com.facebook.orca", "Messenger"),
    ("com.google.android.gm", "Gmail"),
    ("com.google.android.googlequicksearchbox", "Google"),
    ("com.instagram.android", "Instagram"),
    ("com.instagram.barcelona", "Threads"),
    ("com.instagram.lite", "Instagram"),
    ("com.kakao.talk", "KakaoTalk"),
    ("com.linkedin.android", "LinkedIn"),
    ("com.microsoft.office.outlook", "Outlook"),
    ("com.microsoft.teams", "Teams"),
    ("com.nhn.android.search", "Naver"),
    ("com.pinterest", "Pinterest"),
    ("com.reddit.frontpage", "Reddit"),
    ("com.sina.weibo", "Weibo"),
    ("com.slack", "Slack"),
    ("com.snapchat.android", "Snapchat"),
    ("com.ss.android.ugc.trill", "TikTok"),
    ("com.tencent.mm", "WeChat"),
    ("com.twitter.android", "X"),
    ("com.viber.voip", "Viber"),
    ("com.whatsapp", "WhatsApp"),
    ("com.whatsapp.w4b", "WhatsApp"),
    ("com.zhiliaoapp.musically", "TikTok"),
    ("com.zing.zalo", "Zalo"),
    ("jp.naver.line.android", "LINE"),
    ("org.telegram.messenger", "Telegram"),
    ("org.telegram.messenger.web", "Telegram"),
    ("org.thunderdog.challegram", "Telegram"),
];

/// The app whose browser a request came from.
pub fn find(agent: &str, requested_with: Option<&str>) -> Option<&'static str> {
    let by_token = TOKENS.iter().find(|(token, _)| agent.contains(token)).map(|(_, app)| *app);
    let by_package = || {
        let package = requested_with?.trim().to_ascii_lowercase();
        PACKAGES.iter().find(|(name, _)| *name == package).map(|(_, app)| *app)
    };
    by_token.or_else(by_package).filter(|app| !app.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_are_told_by_their_tokens() {
        for (agent, app) in [
            ("Mozilla/5.0 (iPhone) Mobile/15E148 MicroMessenger/8.0.49 MQQBrowser/6.2", "WeChat"),
            ("Mozilla/5.0 (iPhone) Mobile/15E148 Barcelona 331.0.0.33.114 (iPhone15,2)", "Threads"),
            ("Mozilla/5.0 (iPhone) [FBAN/MessengerForiOS;FBAV/460.0]", "Messenger"),
            ("Mozilla/5.0 (Linux; Android 13; wv) [FB_IAB/FB4A;FBAV/470.0.0.38.108;]", "Facebook"),
            ("Mozilla/5.0 (iPhone) Mobile/15E148 Safari Line/14.5.0", "LINE"),
            ("Mozilla/5.0 (iPhone) Mobile/15E148 musical_ly_34.9.0 BytedanceWebview/d8a21c6", "TikTok"),
        ] {
            assert_eq!(find(agent, None), Some(app), "{agent}");
        }
        assert_eq!(find("Mozilla/5.0 (iPhone) Version/18.1 Mobile/15E148 Safari/604.1", None), None);
    }

    #[test]
    fn android_apps_are_told_by_their_package() {
        assert_eq!(find("Mozilla/5.0 (Linux; wv)", Some("org.telegram.messenger")), Some("Telegram"));
        assert_eq!(find("Mozilla/5.0 (Linux; wv)", Some("com.Slack")), Some("Slack"));
        assert_eq!(find("Mozilla/5.0 (Linux; wv)", Some("XMLHttpRequest")), None);
    }
}
