//! QR codes of links.

use crate::harness::Api;

#[tokio::test]
async fn a_link_has_a_code_as_svg_and_as_png() {
    let api = Api::start().await;
    let link = api.link().await;
    let get = async |query: &str| {
        let request = api.request(reqwest::Method::GET, &format!("/v1/links/{link}/qr{query}"));
        request.bearer_auth(&api.key).send().await.expect("an answer")
    };

    let svg = get("").await;
    assert_eq!(svg.headers()["content-type"], "image/svg+xml");
    let svg = svg.text().await.expect("text");
    assert!(svg.starts_with("<svg ") && svg.contains("width=\"512\""), "{svg}");

    let png = get("?format=png&size=300&margin=0").await;
    assert_eq!(png.headers()["content-type"], "image/png");
    let disposition = png.headers()["content-disposition"].to_str().expect("text").to_owned();
    assert!(disposition.ends_with(".png\""), "{disposition}");
    let bytes = png.bytes().await.expect("bytes");
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    assert_eq!(u32::from_be_bytes(bytes[16..20].try_into().expect("four")), 300);

    for wrong in ["?format=gif", "?size=63", "?size=2049", "?margin=17", "?size=a", "?colour=red"] {
        assert_eq!(get(wrong).await.status().as_u16(), 422, "{wrong}");
    }
    let (_, stranger) = api.other_workspace().await;
    let path = format!("/v1/links/{link}/qr");
    assert_eq!(api.call_as(&stranger, reqwest::Method::GET, &path, None).await.status, 404);
}
