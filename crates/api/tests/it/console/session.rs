//! Somebody who uses the console.

use std::collections::HashMap;

use reqwest::{Method, Response};

use crate::harness::Api;

/// A browser of sorts: it keeps cookies and finds the token of a page's forms.
pub struct Browser<'a> {
    api: &'a Api,
    pub cookies: HashMap<String, String>,
    /// What it says in `X-Forwarded-For`, as a proxy would.
    pub forwarded_for: Option<String>,
}

impl<'a> Browser<'a> {
    pub fn new(api: &'a Api) -> Self {
        Self { api, cookies: HashMap::new(), forwarded_for: None }
    }

    pub async fn signed_in(api: &'a Api) -> Self {
        Self::signed_in_with(api, &api.key).await
    }

    pub async fn signed_in_with(api: &'a Api, key: &str) -> Self {
        let mut browser = Self::new(api);
        assert_eq!(browser.sign_in(key).await.0, 303);
        browser
    }

    pub async fn sign_in(&mut self, key: &str) -> (u16, String) {
        let token = self.token("/login").await;
        self.submit("/login", &[("csrf", &token), ("key", key)]).await
    }

    pub async fn open(&mut self, path: &str) -> (u16, String) {
        let request = self.api.request(Method::GET, path).header("cookie", self.cookie());
        self.keep(request.send().await.expect("an answer")).await
    }

    pub async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let body: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.api.request(Method::POST, path).header("cookie", self.cookie());
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        let request = match &self.forwarded_for {
            Some(address) => request.header("x-forwarded-for", address),
            None => request,
        };
        self.keep(request.send().await.expect("an answer")).await
    }

    /// Sends a form as a browser does that has a file in it.
    pub async fn upload(&mut self, path: &str, fields: &[(&str, &str)], file: Option<&str>) -> (u16, String) {
        let boundary = "----form";
        let mut body = String::new();
        for (name, value) in fields {
            body += &format!(
                "--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
        }
        if let Some(file) = file {
            body += &format!(
                "--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\
                 content-type: text/csv\r\n\r\n{file}\r\n"
            );
        }
        body += &format!("--{boundary}--\r\n");
        let request = self.api.request(Method::POST, path).header("cookie", self.cookie());
        let request =
            request.header("content-type", format!("multipart/form-data; boundary={boundary}")).body(body);
        self.keep(request.send().await.expect("an answer")).await
    }

    /// A cookie that a script has set.
    pub fn keep_cookie(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    /// Fills in a form of a page, and follows where that leads.
    pub async fn fill(&mut self, page: &str, action: &str, fields: &[(&str, &str)]) -> String {
        let token = self.token(page).await;
        let mut all = vec![("csrf", token.as_str())];
        all.extend_from_slice(fields);
        let (status, location) = self.submit(action, &all).await;
        assert_eq!(status, 303, "{location}");
        let (status, page) = self.open(&location).await;
        assert_eq!(status, 200, "{page}");
        page
    }

    pub async fn token(&mut self, path: &str) -> String {
        let (_, page) = self.open(path).await;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form");
        rest.split_once('"').expect("a value").0.to_owned()
    }

    pub fn cookie(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// Status and page; of a redirect, where it leads.
    pub async fn keep(&mut self, response: Response) -> (u16, String) {
        for cookie in response.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().expect("text");
            assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
            let (name, rest) = cookie.split_once('=').expect("a cookie");
            let value = rest.split(';').next().expect("a value");
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let status = response.status().as_u16();
        if let Some(location) = response.headers().get("location") {
            return (status, location.to_str().expect("text").to_owned());
        }
        (status, response.text().await.expect("a page"))
    }
}
