// Hand-written: the part of preact's API that the dashboard uses, so that type checking needs no npm packages.
export type VNode = object;
export type Child = VNode | string | number | boolean | null | undefined | Child[];
export function h(type: any, props: any, ...children: any[]): VNode;
export function render(vnode: Child, parent: Element): void;
export const Fragment: any;
