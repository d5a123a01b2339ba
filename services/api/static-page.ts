/**
 * The static page: its files are read once when the API starts and served from memory, so that no path of a request ever
 * reaches the file system.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { Request, RequestHandler, Response } from "express";
import { HeadwaterError } from "../../contract/error.ts";

const filesMax = 500;
const bytesMax = 33_554_432;
const gzipAsync = promisify(gzip);

const contentTypes: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".json": "application/json",
  ".webmanifest": "application/manifest+json",
  ".txt": "text/plain; charset=utf-8",
};

/** The addresses of the page's screens; each is answered with the page itself, which then reads its own address. */
const pageRoutes = [/^\/$/, /^\/incidents(\/[^/]+)?$/, /^\/services(\/[^/]+)?$/, /^\/map$/, /^\/changes$/];

interface PageFile {
  readonly body: Buffer;
  readonly zipped: Buffer;
  readonly type: string;
  readonly etag: string;
  /** Files with a hash in their name never change. */
  readonly cacheControl: string;
}

/**
 * Reads the built page. `directory` null, or a folder without index.html: the page's addresses answer NOT_FOUND and say what builds it.
 * Throws CONFIG_INVALID when the folder holds more than a page would (500 files, 32 MiB).
 */
export async function loadStaticPage(directory: string | null): Promise<RequestHandler> {
  const files = directory === null ? new Map<string, PageFile>() : await readPage(directory);
  return (request, response, next) => {
    if (request.method !== "GET" && request.method !== "HEAD") return next();
    const file = files.get(request.path);
    if (file !== undefined && request.path !== "/index.html") return serve(file, request, response);
    if (!pageRoutes.some((route) => route.test(request.path))) return next();
    const page = files.get("/index.html");
    if (page === undefined) throw new HeadwaterError("NOT_FOUND", "The web page is not built; run `npm run build`");
    serve(page, request, response);
  };
}

async function readPage(directory: string): Promise<Map<string, PageFile>> {
  const files = new Map<string, PageFile>();
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  let bytes = 0;
  for (const entry of entries) {
    const type = contentTypes[path.extname(entry.name)];
    if (!entry.isFile() || type === undefined) continue;
    const file = path.join(entry.parentPath, entry.name);
    const body = await readFile(file);
    bytes += body.length;
    if (files.size >= filesMax || bytes > bytesMax) {
      throw new HeadwaterError("CONFIG_INVALID", `${directory} holds more than a web page: over ${filesMax} files or ${bytesMax} bytes`);
    }
    const address = `/${path.relative(directory, file).split(path.sep).join("/")}`;
    files.set(address, {
      body,
      zipped: await gzipAsync(body, { level: 9 }),
      type,
      etag: `"${createHash("sha256").update(body).digest("hex").slice(0, 20)}"`,
      cacheControl: address.startsWith("/assets/") ? "public, max-age=31536000, immutable" : "no-cache",
    });
  }
  return files;
}

function serve(file: PageFile, request: Request, response: Response): void {
  response.setHeader("Content-Type", file.type);
  response.setHeader("Cache-Control", file.cacheControl);
  response.setHeader("ETag", file.etag);
  response.setHeader("Vary", "Accept-Encoding");
  if (request.headers["if-none-match"] === file.etag) {
    response.status(304).end();
    return;
  }
  const zipped = file.zipped.length < file.body.length && /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""));
  if (zipped) response.setHeader("Content-Encoding", "gzip");
  const body = zipped ? file.zipped : file.body;
  response.setHeader("Content-Length", body.length);
  response.end(request.method === "HEAD" ? undefined : body);
}
