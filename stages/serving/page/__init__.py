"""The page at /page, made with Gradio: one tab per project. It loads nothing from other hosts."""

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'unsafe-inline'",  # Gradio's HTML has inline scripts; `hashes` allows only them, by their hashes
        "style-src 'self' 'unsafe-inline'",  # Svelte and this page's bars set style attributes, which hashes can't allow
        "img-src 'self' data: blob:",  # data: example digits and icons in CSS; blob: a file before its upload
        "media-src 'self' blob:",  # blob: the webcam's picture
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'self'",  # Gradio's HTML has <base href="./">
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""The page's content security policy. gr.HTML would need 'unsafe-eval', so the page's own HTML is in gr.Markdown."""

UPLOAD = "/page/gradio_api/upload"
UPLOADS = 8
"""Largest request to UPLOAD, in files of the largest size."""
QUOTA = 32
"""Largest size of all kept uploads together, in files of the largest size."""
