//! Apps that open links in a browser of their own, told by a token in the User-Agent or by their package name.
//!
//! Asked before the rules of uap-core, which know some of these and take others for another browser.

/// Tokens in the order they are looked for: the more special before the more general. No app: a program of the same name.
const TOKENS: &[(&str, &str)] = &[
    ("MicroMessenger", "WeChat"),
    ("Barcelona ", "Threads"),
    ("Instagram", "Instagram"),
    ("FBAN/Messenger", "Messenger"),
    ("FBAN/Orca", "Messenger"),
    ("FB_IAB/MESSENGER", "Messenger"),
    ("FB_IAB/Messenger", "Messenger"),
    ("FB_IAB/Orca", "Messenger"),
    ("MessengerForiOS", "Messenger"),
    ("MessengerLite", "Messenger"),
    ("Orca-Android", "Messenger"),
    ("com.facebook.orca", "Messenger"),
    ("com.facebook.mlite", "Messenger"),
    ("FBAN", "Facebook"),
    ("FBAV", "Facebook"),
    ("FB_IAB", "Facebook"),
    ("FBIOS", "Facebook"),
    ("MetaIAB Facebook", "Facebook"),
    ("LinkedInApp", "LinkedIn"),
    ("[LinkedIn]", "LinkedIn"),
    ("LinkedIn/", "LinkedIn"),
    ("LinkedIn iOS", "LinkedIn"),
    ("com.linkedin", "LinkedIn"),
    ("musical_ly", "TikTok"),
    ("musically", "TikTok"),
    ("BytedanceWebview", "TikTok"),
    ("ByteLocale", "TikTok"),
    ("trill_", "TikTok"),
    ("AppName/trill", "TikTok"),
    ("TikTok", "TikTok"),
    ("AppName/aweme", "Douyin"),
    ("aweme_", "Douyin"),
    ("NewsArticle/", "Toutiao"),
    ("Snapchat", "Snapchat"),
    (" Line/", "LINE"),
    ("LINE/", "LINE"),
    ("jp.naver.line", "LINE"),
    ("KAKAOTALK", "KakaoTalk"),
    ("KakaoTalk", "KakaoTalk"),
    ("KAKAOSTORY", "KakaoStory"),
    ("NAVER(inapp", "Naver"),
    ("DaumApps", "Daum"),
    ("Pinterest/", "Pinterest"),
    ("Pinterest for", "Pinterest"),
    ("[Pinterest", "Pinterest"),
    ("Twitter for", "X"),
    ("TwitterAndroid", "X"),
    ("Twitter/", "X"),
    ("GSA/", "Google"),
    ("Zalo", "Zalo"),
    (" Viber", "Viber"),
    ("Viber/", "Viber"),
    (" WhatsApp", "WhatsApp"),
    ("WhatsApp/", "WhatsApp"),
    ("Telegram-Android", "Telegram"),
    ("Telegram-iOS", "Telegram"),
    ("Telegram/", "Telegram"),
    ("TelegramBot", ""),
    ("Discordbot", ""),
    ("DiscordBot", ""),
    ("Discord/", "Discord"),
    ("discord/", "Discord"),
    ("Slackbot", ""),
    ("Slack_SSB", "Slack"),
    ("com.Slack", "Slack"),
    ("com.tinyspeck", "Slack"),
    ("Slack/", "Slack"),
    ("redditbot", ""),
    ("Reddit/", "Reddit"),
    ("RedditApp", "Reddit"),
    ("__weibo__", "Weibo"),
    ("Weibo (", "Weibo"),
    ("WeiboIntl", "Weibo"),
    ("baiduboxapp", "Baidu"),
    (" QQ/", "QQ"),
    ("DingTalk", "DingTalk"),
    ("AliApp(DingTalk", "DingTalk"),
    ("AlipayClient", "Alipay"),
    ("AliApp(TB", "Taobao"),
    ("AliApp(AP", "Alipay"),
    ("wxwork/", "WeCom"),
    ("Teams/", "Teams"),
    ("TeamsMobile", "Teams"),
    ("Skype/", "Skype"),
    ("OutlookMobile", "Outlook"),
    ("Outlook-iOS", "Outlook"),
    ("Outlook-Android", "Outlook"),
    ("VKAndroidApp", "VK"),
    ("VKClient", "VK"),
    ("com.vk.vkclient", "VK"),
    ("OKAndroid", "OK"),
    ("odnoklassniki", "OK"),
    ("Quora ", "Quora"),
    ("Tumblr/", "Tumblr"),
    ("Flipboard/", "Flipboard"),
    ("FlipboardProxy", ""),
    ("Kik/", "Kik"),
    ("BingSapphire", "Bing"),
    ("bingsapi/", "Bing"),
    ("YJApp-", "Yahoo! Japan"),
    ("jp.co.yahoo", "Yahoo! Japan"),
    ("SmartNews", "SmartNews"),
    ("Truth Social", "Truth Social"),
    ("Bluesky/", "Bluesky"),
    ("Mastodon/", "Mastodon"),
    ("Line for", "LINE"),
    ("Band/", "BAND"),
    ("BAND/", "BAND"),
    ("kwai", "Kwai"),
    ("Kwai", "Kwai"),
    ("Likee", "Likee"),
    ("Coupang", "Coupang"),
    ("Zhihu", "Zhihu"),
    ("ZhihuHybrid", "Zhihu"),
    ("XiaoHongShu", "Xiaohongshu"),
    ("BiliApp", "Bilibili"),
    ("Signal-", "Signal"),
    ("Lark/", "Lark"),
    ("Feishu/", "Lark"),
    ("Nextdoor/", "Nextdoor"),
    ("com.google.GoogleMobile", "Google"),
    ("com.google.android.googlequicksearchbox", "Google"),
    ("GoogleApp/", "Google"),
    ("WeChat/", "WeChat"),
    ("com.ss.android.ugc.trill", "TikTok"),
];

/// Android names the package of the app in `X-Requested-With`.
const PACKAGES: &[(&str, &str)] = &[
    ("com.alibaba.android.rimet", "DingTalk"),
    ("com.baidu.searchbox", "Baidu"),
    ("com.discord", "Discord"),
    ("com.eg.android.alipaygphone", "Alipay"),
    ("com.facebook.katana", "Facebook"),
    ("com.facebook.lite", "Facebook"),
    ("com.facebook.mlite", "Messenger"),
    ("com.facebook.orca", "Messenger"),
    ("com.facebook.pages.app", "Facebook"),
    ("com.google.android.apps.messaging", "Google Messages"),
    ("com.google.android.gm", "Gmail"),
    ("com.google.android.googlequicksearchbox", "Google"),
    ("com.google.android.youtube", "YouTube"),
    ("com.instagram.android", "Instagram"),
    ("com.instagram.barcelona", "Threads"),
    ("com.instagram.lite", "Instagram"),
    ("com.kakao.talk", "KakaoTalk"),
    ("com.kwai.video", "Kwai"),
    ("com.linkedin.android", "LinkedIn"),
    ("com.linkedin.android.lite", "LinkedIn"),
    ("com.microsoft.bing", "Bing"),
    ("com.microsoft.office.outlook", "Outlook"),
    ("com.microsoft.teams", "Teams"),
    ("com.nextdoor", "Nextdoor"),
    ("com.nhn.android.search", "Naver"),
    ("com.pinterest", "Pinterest"),
    ("com.quora.android", "Quora"),
    ("com.reddit.frontpage", "Reddit"),
    ("com.sina.weibo", "Weibo"),
    ("com.skype.raider", "Skype"),
    ("com.slack", "Slack"),
    ("com.snapchat.android", "Snapchat"),
    ("com.ss.android.ugc.aweme", "Douyin"),
    ("com.ss.android.ugc.trill", "TikTok"),
    ("com.taobao.taobao", "Taobao"),
    ("com.tencent.mm", "WeChat"),
    ("com.tencent.mobileqq", "QQ"),
    ("com.tencent.wework", "WeCom"),
    ("com.truthsocial.android.app", "Truth Social"),
    ("com.tumblr", "Tumblr"),
    ("com.twitter.android", "X"),
    ("com.twitter.android.lite", "X"),
    ("com.viber.voip", "Viber"),
    ("com.vkontakte.android", "VK"),
    ("com.whatsapp", "WhatsApp"),
    ("com.whatsapp.w4b", "WhatsApp"),
    ("com.xingin.xhs", "Xiaohongshu"),
    ("com.yahoo.mobile.client.android.mail", "Yahoo Mail"),
    ("com.zhihu.android", "Zhihu"),
    ("com.zhiliaoapp.musically", "TikTok"),
    ("com.zhiliaoapp.musically.go", "TikTok"),
    ("com.zing.zalo", "Zalo"),
    ("flipboard.app", "Flipboard"),
    ("jp.naver.line.android", "LINE"),
    ("net.daum.android.daum", "Daum"),
    ("org.joinmastodon.android", "Mastodon"),
    ("org.telegram.messenger", "Telegram"),
    ("org.telegram.plus", "Telegram"),
    ("org.thunderdog.challegram", "Telegram"),
    ("ru.ok.android", "OK"),
    ("tv.danmaku.bili", "Bilibili"),
    ("xyz.blueskyweb.app", "Bluesky"),
];

/// The app whose browser a request came from.
pub fn find(agent: &str, requested_with: Option<&str>) -> Option<&'static str> {
    let by_token = TOKENS.iter().find(|(token, _)| agent.contains(token)).map(|(_, app)| *app);
    let by_package = || {
        let package = requested_with?.trim().to_ascii_lowercase();
        // makers name what belongs to it by its name: `org.telegram.messenger.beta`
        let is_it = |name: &str| {
            package.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        PACKAGES.iter().find(|(name, _)| is_it(name)).map(|(_, app)| *app)
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
        assert_eq!(find("Mozilla/5.0 (Linux; wv)", Some("org.telegram.messenger.beta")), Some("Telegram"));
        assert_eq!(find("Mozilla/5.0 (Linux; wv)", Some("com.slackers")), None);
        assert_eq!(find("Mozilla/5.0 (Linux; wv)", Some("XMLHttpRequest")), None);
    }
}
