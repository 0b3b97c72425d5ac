"""The page at /page: a tab a project, made with Gradio. It needs no network but this server."""

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'unsafe-inline'",  # Gradio's HTML has inline scripts; `hashes` puts theirs in place of that
        "style-src 'self' 'unsafe-inline'",  # Svelte and this page's bars set style attributes, for which hashes don't count
        "img-src 'self' data: blob:",  # data: the digits to click and icons in CSS; blob: a file before it is uploaded
        "media-src 'self' blob:",  # blob: the webcam's picture
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'self'",  # Gradio's HTML has <base href="./">
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""What the page may load and do. No 'unsafe-eval': gr.HTML needs it, so the page's own HTML stands in gr.Markdown."""

UPLOAD = "/page/gradio_api/upload"
UPLOADS = 8
"""How many files of the largest size one request to UPLOAD may hold in all."""
